import { describe, expect, it } from 'vitest';
import type { LaterJob, NowSchedule, RunningJob } from './documents';
import { nextOf } from './next';
import { reasonOf, type Blocker } from './reason';
import { LINGER_MS, rowsOf } from './running';
import { lastSeen } from './tail.svelte';

const NOW = Date.parse('2026-11-26T10:00:00Z');
const job = (id: string, createdAt: string, finishedAt: string | null = null) =>
  ({ id, createdAt, finishedAt }) as RunningJob;

describe('the running rows', () => {
  const old = job('job_1', '2026-11-26T09:00:00Z', '2026-11-26T09:59:58Z');
  const young = job('job_2', '2026-11-26T09:30:00Z');

  it('keep what has just ended in its place', () => {
    expect(rowsOf([old, young], [young], NOW).map(({ id }) => id)).toEqual(['job_1', 'job_2']);
    expect(rowsOf([old, young], [young], NOW + LINGER_MS).map(({ id }) => id)).toEqual(['job_2']);
  });

  it('drop what does not run any more and has not ended, such as a job that is tried again', () => {
    expect(rowsOf([young], [], NOW)).toEqual([]);
  });
});

describe('what comes next', () => {
  it('is in the order of time, schedules and jobs together, without those that have no time', () => {
    const schedule = (id: string, nextDueAt: string | null) =>
      ({ id, name: id, nextDueAt, timeZone: 'Europe/Berlin' }) as NowSchedule;
    const later = {
      id: 'job_9',
      state: 'SCHEDULED',
      runAt: '2026-11-26T10:05:00Z',
      task: { id: 'task_1', name: 'report' },
    } as LaterJob;
    const due = nextOf(
      [schedule('late', '2026-11-26T11:00:00Z'), schedule('paused', null), schedule('soon', '2026-11-26T10:01:00Z')],
      [later],
      'Europe/Lisbon',
      NOW,
    );
    expect(due.map(({ name }) => name)).toEqual(['soon', 'job_9 report', 'late']);
    expect(due.map(({ local }) => local)).toEqual(['11:01 Europe/Berlin', '10:05', '12:00 Europe/Berlin']);
  });
});

describe('the reason', () => {
  const said = (blocker: unknown, state: 'QUEUED' | 'RETRYING' = 'QUEUED') =>
    reasonOf(blocker as Blocker, state, NOW)
      .map(({ text }) => text)
      .join('');

  it('names the jobs that are in the way, with links', () => {
    const holders = ['job_1', 'job_2', 'job_3', 'job_4'].map((id) => ({ id }));
    const blocker = { __typename: 'ConcurrencyBlocker', key: 'prod', holders };
    expect(said(blocker)).toBe('behind job_1, job_2 and 2 other jobs (key prod)');
    expect(reasonOf(blocker as Blocker, 'QUEUED', NOW)[1]?.href).toBe('/jobs/job_1');
    expect(said({ ...blocker, key: 'task:report', holders: [{ id: 'job_1' }] })).toBe(
      'behind job_1 (limit of its task)',
    );
  });

  it('says when a job is tried again', () => {
    const blocker = { __typename: 'ScheduledBlocker', runAt: '2026-11-26T10:00:40Z' };
    expect(said(blocker, 'RETRYING')).toBe('tries again in 40 s');
  });

  it('says who paused the queue and why', () => {
    const blocker = { __typename: 'PausedBlocker', queue: { name: 'mail' }, by: 'admin', reason: 'relay moved' };
    expect(said(blocker)).toBe('queue mail is paused by admin: relay moved');
    expect(said({ ...blocker, reason: null })).toBe('queue mail is paused by admin');
  });
});

describe('the last line', () => {
  it('is what a terminal would show at its end', () => {
    expect(lastSeen('\u001b[32mok\u001b[0m copied ')).toBe('ok copied');
    expect(lastSeen('10%\r20%\r30%\r')).toBe('30%');
    expect(lastSeen(' \r ')).toBe('');
  });
});
