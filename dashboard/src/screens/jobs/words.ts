// Owns the words for a job in a list: its name, what stands beside it by its state, and what a bulk action will touch.
// Pure.
import type { ResultOf } from '$lib/api/graphql';
import { absolute, count, counted, list } from '$lib/format';
import type { JobRow, JobWait } from '$lib/live/fragments';
import { jobStates } from '$lib/ui/states';
import type { jobCountsDocument } from './documents';
import { STATES, WAITING, type Sort } from './filter';

export type Counts = ResultOf<typeof jobCountsDocument>['jobCounts'];
type Counted = Exclude<keyof Counts, 'isCapped'>;
export type JobState = (typeof STATES)[number];

export function countOf(counts: Counts, state: JobState): number {
  return counts[state.toLowerCase() as Counted];
}

export function sumOf(counts: Counts, states: readonly JobState[]): number {
  return states.reduce((sum, state) => sum + countOf(counts, state), 0);
}

/** Why it waits, in the daemon's words. */
export function waitOf(job: Partial<Pick<JobWait, 'blockers'>>): string {
  const [first, ...others] = job.blockers ?? [];
  if (!first) return '';
  const more = others.length === 0 ? '' : ` (and ${counted(others.length, 'other reason')})`;
  return `${first.message.charAt(0).toUpperCase()}${first.message.slice(1)}${more}`;
}

/** What went wrong, in one line. */
export function failureOf({ failure }: Pick<JobRow, 'failure'>): { code: string; line: string } | null {
  if (failure === null) return null;
  const code = failure.exitCode !== null ? `exit ${String(failure.exitCode)}` : (failure.signal ?? '');
  return { code, line: failure.errorLine ?? failure.message };
}

/** The same counts, of these states only; of all when none is named. */
export function within(counts: Counts, states: readonly JobState[]): Counts {
  const others = states.length === 0 ? [] : STATES.filter((state) => !states.includes(state));
  return { ...counts, ...Object.fromEntries(others.map((state) => [state.toLowerCase(), 0])) };
}

/** Which jobs were looked at, when a list has not come to its end: those up to an instant of what it is ordered by. */
export function lookedAt(sort: Sort, until: string): string {
  const at = absolute(Date.parse(until));
  const words: Record<Sort, string> = {
    newest: `the jobs created since ${at}`,
    oldest: `the jobs created until ${at}`,
    next: `the jobs due until ${at}`,
    finished: `the jobs that ended since ${at}`,
    priority: 'the most urgent jobs',
  };
  return words[sort];
}

export type BulkVerb = 'cancel' | 'retry';

export interface Touched {
  /** Jobs that the action takes. */
  readonly count: number;
  readonly words: string;
}

/** What a bulk action will do, said before it is done. `states`: those that the filter names. */
export function touchedBy(verb: BulkVerb, counts: Counts, states: readonly JobState[]): Touched {
  const all = sumOf(counts, STATES);
  if (verb === 'cancel') {
    const [waiting, running] = [sumOf(counts, WAITING), counts.running];
    const parts = [
      running > 0 ? `${counted(running, 'running job')} ${running === 1 ? 'is' : 'are'} asked to stop` : '',
      waiting > 0 ? `${counted(waiting, 'waiting job')} will never start` : '',
    ].filter(Boolean);
    return { count: waiting + running, words: said(parts.join('; '), all - waiting - running, 'ended already') };
  }
  const again = (['FAILED', 'CANCELLED', 'EXPIRED', 'SKIPPED', 'SUCCEEDED'] as const).filter(
    (state) => state !== 'SUCCEEDED' || states.includes(state),
  );
  const touched = sumOf(counts, again);
  const kinds = again.flatMap((state) => {
    const number = countOf(counts, state);
    return number === 0 ? [] : [`${count(number)} ${jobStates[state].word}`];
  });
  const words =
    touched === 0 ? '' : `${touched === 1 ? 'One new job is' : `${count(touched)} new jobs are`} made: ${list(kinds)}`;
  const succeeded = again.includes('SUCCEEDED') ? 0 : counts.succeeded;
  const open = all - touched - succeeded;
  const left = [
    succeeded > 0 ? `${count(succeeded)} succeeded` : '',
    open > 0 ? `${count(open)} ${open === 1 ? 'has' : 'have'} not ended` : '',
  ].filter(Boolean);
  return { count: touched, words: said(words, all - touched, list(left)) };
}

function said(what: string, leftCount: number, why: string): string {
  const rest =
    leftCount === 0
      ? ''
      : `${counted(leftCount, 'job')} ${leftCount === 1 ? 'stays' : 'stay'} as ${leftCount === 1 ? 'it is' : 'they are'}: ${why}.`;
  return [what === '' ? '' : `${what}.`, rest].filter(Boolean).join(' ') || 'There is nothing to do.';
}
