import { describe, expect, it } from 'vitest';
import { sentenceOf, type Facts } from './sentence';

const quiet: Facts = {
  now: Date.parse('2026-11-26T10:00:00Z'),
  running: 0,
  waiting: 0,
  queues: [],
  workers: [],
  next: null,
  incidents: [],
  hasMoreIncidents: false,
  parts: [],
};
const queue = { id: 'queue_1', name: 'deploy', isPaused: false, concurrencyLimit: 1, runningCount: 1, waitingCount: 2 };
const said = (facts: Partial<Facts>) =>
  sentenceOf({ ...quiet, ...facts })
    .map((word) => word.text)
    .join('');

describe('the sentence', () => {
  it('says when there is nothing', () => {
    expect(said({})).toBe('Nothing runs and nothing waits.');
  });

  it('says why jobs wait, what comes next and what failed', () => {
    expect(
      said({
        running: 3,
        waiting: 12,
        queues: [queue, { ...queue, id: 'queue_2', name: 'mail', isPaused: true }],
        next: { name: 'backup', at: quiet.now + 4 * 60_000, href: '/schedules/backup' },
        incidents: [{ status: 'OPEN' }, { status: 'ACKNOWLEDGED' }],
      }),
    ).toBe('3 running, 12 waiting because deploy is full and mail is paused, next: backup in 4 min, 1 open incident.');
  });

  it('blames a queue only for jobs that wait in it', () => {
    expect(said({ running: 1, waiting: 1, queues: [{ ...queue, waitingCount: 0 }] })).toBe('1 running, 1 waiting.');
  });

  it('says that every slot is busy when no queue holds the jobs', () => {
    const worker = { id: 'worker_1', name: 'host:1', status: 'ONLINE' as const, slots: 4, busySlots: 4 };
    expect(said({ running: 4, waiting: 9, workers: [worker] })).toBe(
      '4 running, 9 waiting because all 4 slots are busy.',
    );
    expect(said({ waiting: 9, workers: [{ ...worker, status: 'OFFLINE' }] })).toBe(
      '0 running, 9 waiting because no worker takes jobs.',
    );
  });

  it('begins with what is not well', () => {
    const parts = [
      { name: 'store', status: 'DOWN' as const },
      { name: 'sink:pager', status: 'DEGRADED' as const },
      { name: 'feed', status: 'OK' as const },
    ];
    expect(said({ parts })).toBe('store is down, sink:pager is degraded. Nothing runs and nothing waits.');
  });

  it('counts names beyond three', () => {
    const names = ['a', 'b', 'c', 'd', 'e'];
    const queues = names.map((name) => ({ ...queue, id: name, name }));
    expect(said({ running: 1, waiting: 5, queues })).toContain('because a, b, and 3 more are full');
  });
});
