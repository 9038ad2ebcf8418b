// Owns the tests of the order of things: no row shows a state older than one already shown, whatever comes first.
import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { EventCursor } from '$lib/api/graphql';
import { AHEAD_MS, Feed, JOB_AHEAD_MS, PENDING_MAX, type LiveEvent } from './feed';
import { CURSORS_MAX } from './history';
import { Rows } from './rows.svelte';

const at = (number: number) => `c${String(number)}` as EventCursor;
type Fields = Record<string, unknown>;

function event(number: number, subject: (Fields & { id: string }) | null, more: Partial<LiveEvent> = {}): LiveEvent {
  return {
    cursor: at(number),
    type: 'JOB_STATE_CHANGED',
    at: '2026-11-26T12:00:00.000Z',
    actor: 'admin',
    taskName: null,
    jobId: subject?.id ?? null,
    data: null,
    subject: subject && { __typename: 'Job', ...subject },
    ...more,
  };
}
const batch = (...events: LiveEvent[]) => ({ events, cursor: events.at(-1)?.cursor ?? at(0) });

/** A feed whose frames and timers are run by hand. */
function stage(cursorsMax?: number) {
  const rows = new Rows();
  const frames: (() => void)[] = [];
  const timers: { ms: number; work: () => void }[] = [];
  const refresh = vi.fn();
  const feed = new Feed(
    rows,
    { onFrame: (work) => frames.push(work), after: (ms, work) => timers.push({ ms, work }), refresh },
    cursorsMax,
  );
  const frame = () => {
    for (const work of frames.splice(0)) work();
  };
  const wait = (ms: number) => {
    for (const timer of timers.splice(0)) {
      if (timer.ms <= ms) timer.work();
      else timers.push(timer);
    }
  };
  return { rows, feed, frames, frame, wait, refresh };
}

let { rows, feed, frames, frame, wait, refresh } = stage();
beforeEach(() => {
  ({ rows, feed, frames, frame, wait, refresh } = stage());
  feed.begin(at(0));
});

/** Asks and is answered at once. */
function load<T>(tree: T, cursor: number): T {
  const answer = feed.answer(feed.asking(), tree, at(cursor));
  if (answer === null) throw new Error('asked again');
  return answer;
}

describe('answers and events', () => {
  it('an old answer does not undo a newer event', () => {
    const { job } = load({ job: { id: 'job_1', state: 'QUEUED' } }, 0);
    const asked = feed.asking();
    feed.take(batch(event(1, { id: 'job_1', state: 'RUNNING' }), event(2, { id: 'job_1', state: 'SUCCEEDED' })));
    frame();
    expect(job.state).toBe('SUCCEEDED');
    const seen: unknown[] = [];
    const late = feed.answer(asked, { job: { id: 'job_1', state: 'RUNNING', note: 'more' } }, at(1));
    seen.push(job.state);
    expect(seen).toEqual(['SUCCEEDED']);
    expect(late?.job).toBe(job);
    expect(late?.job.note).toBe('more');
  });

  it('events that wait for their frame are applied before the answer and again behind it', () => {
    const { job } = load({ job: { id: 'job_1', state: 'QUEUED' } }, 0);
    const asked = feed.asking();
    feed.take(batch(event(1, { id: 'job_1', state: 'RUNNING' }), event(2, { id: 'job_1', state: 'FAILED' })));
    feed.answer(asked, { job: { id: 'job_1', state: 'RUNNING' } }, at(1));
    expect(job.state).toBe('FAILED');
    frame();
    expect(job.state).toBe('FAILED');
  });

  it('an event that was told before the row was on the page counts for the answer that brings it', () => {
    const asked = feed.asking();
    feed.take(batch(event(1, { id: 'job_9', state: 'RUNNING' })));
    frame();
    expect(rows.get('job_9')).toBeUndefined();
    const answer = feed.answer(asked, { job: { id: 'job_9', state: 'QUEUED' } }, at(0));
    expect(answer?.job.state).toBe('RUNNING');
  });

  it('an answer ahead of the feed is not undone by the events before its cursor', () => {
    const { job } = load({ job: { id: 'job_1', state: 'SUCCEEDED' } }, 3);
    feed.take(
      batch(event(1, { id: 'job_1', state: 'RUNNING', title: 'a' }), event(2, { id: 'job_1', state: 'RUNNING' })),
    );
    frame();
    expect(job).toMatchObject({ state: 'SUCCEEDED', title: 'a' });
    feed.take(batch(event(3, { id: 'job_1', state: 'SUCCEEDED' }), event(4, { id: 'job_1', state: 'GONE' })));
    frame();
    expect(job.state).toBe('GONE');
  });

  it('only the fields of the answer are ahead', () => {
    const { queue } = load({ queue: { id: 'queue_1', isPaused: false, pauseReason: null as string | null } }, 0);
    load({ queuePause: { queue: { id: 'queue_1', isPaused: true } } }, 1);
    feed.take(batch(event(1, { id: 'queue_1', isPaused: true, pauseReason: 'disk' })));
    frame();
    expect(queue).toMatchObject({ isPaused: true, pauseReason: 'disk' });
  });

  it("a job's own cursor holds events back that are older than the job in the answer", () => {
    const { job } = load({ job: { id: 'job_1', state: 'SUCCEEDED', eventCursor: at(2) } }, 0);
    feed.take(batch(event(1, { id: 'job_1', state: 'RUNNING', eventCursor: at(1) })));
    frame();
    expect(job.state).toBe('SUCCEEDED');
    feed.take(batch(event(2, { id: 'job_1', state: 'SUCCEEDED', eventCursor: at(2) })));
    feed.take(batch(event(3, { id: 'job_1', state: 'RETRIED', eventCursor: at(3) })));
    frame();
    expect(job.state).toBe('RETRIED');
    expect(refresh).not.toHaveBeenCalled();
  });

  it('what was held back and never explained is asked for again', () => {
    load({ job: { id: 'job_1', state: 'RUNNING', eventCursor: at(-50) } }, 0);
    feed.take(batch(event(1, { id: 'job_1', state: 'SUCCEEDED', eventCursor: at(1) })));
    frame();
    wait(JOB_AHEAD_MS);
    expect(refresh).toHaveBeenCalledWith(['job_1']);
    const asked = feed.asking();
    feed.answer(asked, { node: { id: 'job_1', state: 'SUCCEEDED', eventCursor: at(1) } }, at(1));
    expect(rows.get('job_1')).toMatchObject({ state: 'SUCCEEDED' });
  });

  it('a mark that held nothing back goes without a word', () => {
    const { job } = load({ job: { id: 'job_1', state: 'RUNNING' } }, 7);
    wait(AHEAD_MS);
    feed.take(batch(event(1, { id: 'job_1', state: 'SUCCEEDED' })));
    frame();
    expect(job.state).toBe('SUCCEEDED');
    expect(refresh).not.toHaveBeenCalled();
  });
});

describe('asking again', () => {
  it('an answer that the feed has overrun is asked again', () => {
    ({ rows, feed, frames, frame } = stage(10));
    feed.begin(at(0));
    const asked = feed.asking();
    for (let number = 1; number <= 30; number += 1) feed.take(batch(event(number, null)));
    expect(feed.answer(asked, { job: { id: 'job_1', state: 'QUEUED' } }, at(2))).toBeNull();
    expect(rows.get('job_1')).toBeUndefined();
  });

  it('the last try is taken as it is', () => {
    ({ rows, feed, frames, frame } = stage(10));
    feed.begin(at(0));
    const asked = feed.asking();
    for (let number = 1; number <= 30; number += 1) feed.take(batch(event(number, null)));
    expect(feed.answer(asked, { job: { id: 'job_1', state: 'QUEUED' } }, at(31), true)).not.toBeNull();
  });

  it('after CURSOR_EXPIRED answers of the time before are asked again', () => {
    const asked = feed.asking();
    feed.begin(at(100));
    expect(feed.position).toBe(at(100));
    expect(feed.answer(asked, { job: { id: 'job_1', state: 'QUEUED' } }, at(1))).toBeNull();
    expect(feed.answer(feed.asking(), { job: { id: 'job_1', state: 'QUEUED' } }, at(100))).not.toBeNull();
  });

  it('what waited when the feed started anew is dropped', () => {
    const { job } = load({ job: { id: 'job_1', state: 'QUEUED' } }, 0);
    feed.take(batch(event(1, { id: 'job_1', state: 'RUNNING' })));
    feed.begin(at(100));
    frame();
    expect(job.state).toBe('QUEUED');
    expect(feed.position).toBe(at(100));
  });
});

describe('reconnecting', () => {
  it('the position follows the applied events and bookmarks', () => {
    feed.take(batch(event(1, null), event(2, null)));
    expect(feed.position).toBe(at(0));
    frame();
    expect(feed.position).toBe(at(2));
    feed.take({ events: [], cursor: at(5) });
    frame();
    expect(feed.position).toBe(at(5));
  });

  it('events that come twice are applied and told once', () => {
    const { job } = load({ job: { id: 'job_1', state: 'QUEUED' } }, 0);
    const listener = vi.fn();
    feed.on({}, listener);
    feed.take(batch(event(1, { id: 'job_1', state: 'RUNNING' }), event(2, { id: 'job_1', state: 'FAILED' })));
    frame();
    feed.take(batch(event(1, { id: 'job_1', state: 'RUNNING' }), event(2, { id: 'job_1', state: 'FAILED' })));
    feed.take(batch(event(3, { id: 'job_2', state: 'QUEUED' }), event(3, { id: 'job_2', state: 'QUEUED' })));
    frame();
    expect(job.state).toBe('FAILED');
    expect(listener.mock.calls.map(([events]) => (events as LiveEvent[]).map((each) => each.cursor))).toEqual([
      [at(1), at(2)],
      [at(3)],
    ]);
  });
});

describe('many at once', () => {
  it('a burst of 10,000 events is few frames and bounded memory', () => {
    const jobs = Array.from({ length: 50 }, (_, index) => ({ id: `job_${String(index)}`, done: 0 }));
    const { list } = load({ list: jobs }, 0);
    const told = vi.fn();
    feed.on({}, told);
    let flushes = 0;
    const counted = vi.spyOn(feed, 'flush').mockImplementation(function (this: Feed) {
      flushes += 1;
      Feed.prototype.flush.call(this);
    });
    for (let number = 1; number <= 10_000; number += 1) {
      feed.take(batch(event(number, { id: `job_${String(number % 5_000)}`, done: number })));
    }
    frame();
    counted.mockRestore();
    expect(flushes).toBeLessThanOrEqual(10_000 / PENDING_MAX + 1);
    expect(frames.length).toBeLessThanOrEqual(1);
    expect(told).toHaveBeenCalledTimes(10_000 / PENDING_MAX);
    expect(rows.size).toBe(50);
    expect(list[7]?.done).toBe(5_007);
    expect(feed.position).toBe(at(10_000));
    expect(CURSORS_MAX).toBeLessThan(10_000);
  });

  it('of many events about one thing the last one is drawn', () => {
    const { job } = load({ job: { id: 'job_1', queue: { id: 'queue_1', waitingCount: 0 } } }, 0);
    feed.take(
      batch(
        event(1, { id: 'job_1', queue: { id: 'queue_1', waitingCount: 1 } }),
        event(2, { id: 'job_2', queue: { id: 'queue_1', waitingCount: 2 } }),
        event(3, { id: 'job_1', queue: { id: 'queue_1', waitingCount: 3 } }),
      ),
    );
    frame();
    expect(job.queue.waitingCount).toBe(3);
  });
});

it('listeners get what fits, by frame, until they leave', () => {
  const listener = vi.fn();
  const leave = feed.on({ types: ['JOB_CREATED'], taskName: 'deploy' }, listener);
  feed.take(
    batch(
      event(1, null, { type: 'JOB_CREATED', taskName: 'deploy' }),
      event(2, null, { type: 'JOB_CREATED', taskName: 'other' }),
      event(3, null, { taskName: 'deploy' }),
    ),
  );
  frame();
  leave();
  feed.take(batch(event(4, null, { type: 'JOB_CREATED', taskName: 'deploy' })));
  frame();
  expect(listener).toHaveBeenCalledTimes(1);
  expect((listener.mock.calls[0]?.[0] as LiveEvent[]).map((each) => each.cursor)).toEqual([at(1)]);
});
