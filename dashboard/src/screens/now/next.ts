// Owns what comes next on Now: due times of schedules and jobs that wait for their time, in one order. Pure.
import { nameOf } from '$lib/jobs/words';
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
  /** By the clocks of the schedule's zone, which is named where it is another one than the reader's. */
  readonly local: string;
}

export function nextOf(
  schedules: readonly NowSchedule[],
  jobs: readonly LaterJob[],
  ownZone: string,
  now: number,
): Due[] {
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
          local: localTime(Date.parse(nextDueAt), timeZone === 'UTC' ? ownZone : timeZone, ownZone, now),
        },
  );
  for (const job of jobs) {
    if (job.state !== 'SCHEDULED') continue;
    due.push({
      key: job.id,
      name: `${job.id} ${nameOf(job)}`,
      href: href('job', { id: job.id }),
      at: Date.parse(job.runAt),
      iso: job.runAt,
      isJob: true,
      local: localTime(Date.parse(job.runAt), ownZone, ownZone, now),
    });
  }
  return due.sort((left, right) => left.at - right.at || left.name.localeCompare(right.name)).slice(0, SHOWN);
}

const DAY_MS = 86_400_000;

/** `06:00 Europe/Berlin`, with the day of the week when it is more than a day away. */
export function localTime(at: number, zone: string, ownZone: string, now: number): string {
  const format = new Intl.DateTimeFormat('en-GB', {
    timeZone: zone,
    hour: '2-digit',
    minute: '2-digit',
    ...(at - now > DAY_MS ? { weekday: 'short' } : {}),
    ...(at - now > 6 * DAY_MS ? { day: 'numeric', month: 'short' } : {}),
  });
  return zone === ownZone ? format.format(at) : `${format.format(at)} ${zone}`;
}
