// Owns what comes next on Now: due times of schedules and jobs that wait for their time, in one order. Pure.
import { commandLine } from '$lib/format';
import { href } from '$lib/router.svelte';
import type { LaterJob, NowSchedule } from './documents';

/** Rows that are shown. */
const SHOWN = 7;

export interface Due {
  readonly key: string;
  readonly name: string;
  readonly href: string;
  readonly at: number;
  readonly iso: string;
  readonly isJob: boolean;
  /** The schedule's zone, where it is another one than the reader's. */
  readonly zone: string | null;
}

export function nextOf(schedules: readonly NowSchedule[], jobs: readonly LaterJob[], ownZone: string): Due[] {
  const due: Due[] = schedules.flatMap(({ id, name, nextDueAt, timeZone }) =>
    nextDueAt === null
      ? []
      : {
          key: id,
          name,
          href: href('schedule', { name }),
          at: Date.parse(nextDueAt),
          iso: nextDueAt,
          isJob: false,
          zone: timeZone === 'UTC' || timeZone === ownZone ? null : timeZone,
        },
  );
  for (const job of jobs) {
    if (job.state !== 'SCHEDULED') continue;
    due.push({
      key: job.id,
      name: `${job.id} ${job.task?.name ?? commandLine(job.command)}`,
      href: href('job', { id: job.id }),
      at: Date.parse(job.runAt),
      iso: job.runAt,
      isJob: true,
      zone: null,
    });
  }
  return due.sort((left, right) => left.at - right.at || left.name.localeCompare(right.name)).slice(0, SHOWN);
}
