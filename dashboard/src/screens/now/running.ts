// Owns which jobs stand under "running": those that run, and for a moment those that have just ended, so that nothing
// vanishes under the eye. Pure.
import type { RunningJob } from './documents';

/** How long an ended job stays. */
export const LINGER_MS = 5_000;

const isFinal = (job: RunningJob) => job.finishedAt !== null;

/** `before` are the rows as they stood, `running` those of the newest answer. The order is that of their making. */
export function rowsOf(before: readonly RunningJob[], running: readonly RunningJob[], now: number): RunningJob[] {
  const ids = new Set(running.map((job) => job.id));
  const leaving = before.filter((job) => !ids.has(job.id) && isFinal(job));
  const stays = (job: RunningJob) => job.finishedAt === null || now - Date.parse(job.finishedAt) < LINGER_MS;
  return [...running, ...leaving].filter(stays).sort((left, right) => order(left) - order(right));
}

const order = (job: RunningJob) => Date.parse(job.createdAt);
