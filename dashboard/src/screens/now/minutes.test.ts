import { describe, expect, it } from 'vitest';
import { linesOf, Minutes, minuteOf, share, SHOWN, type Minute } from './minutes';

const minute = (given: Partial<Minute>): Minute => ({
  succeeded: 0,
  failed: 0,
  other: 0,
  created: 0,
  waits: [],
  runs: [],
  isOver: true,
  ...given,
});
const counts = { held: 0, blocked: 0, scheduled: 0, queued: 0, running: 0, retrying: 0 };
const ended = { succeeded: 2, failed: 1, cancelled: 1, expired: 0, skipped: 1 };

describe('a minute', () => {
  it('counts what ended, what was made, and how long jobs waited and ran', () => {
    const nodes = [
      { runAt: '2026-11-26T10:00:00Z', startedAt: '2026-11-26T10:00:02Z', finishedAt: '2026-11-26T10:00:07Z' },
      // Tried again: `runAt` is that of the later try.
      { runAt: '2026-11-26T10:00:30Z', startedAt: '2026-11-26T10:00:02Z', finishedAt: '2026-11-26T10:00:40Z' },
      // Cancelled before it started.
      { runAt: '2026-11-26T10:00:00Z', startedAt: null, finishedAt: '2026-11-26T10:00:41Z' },
    ];
    const made = { ...counts, ...ended, queued: 4 };
    expect(minuteOf(ended, made, { nodes }, true)).toEqual(
      minute({ succeeded: 2, failed: 1, other: 2, created: 9, waits: [2_000], runs: [5_000, 38_000] }),
    );
  });
});

describe('the minutes', () => {
  it('ask for each minute that is over once, the newest first', () => {
    const minutes = new Minutes();
    minutes.note(98, minute({}));
    minutes.note(97, minute({ isOver: false }));
    expect(minutes.missing(100).slice(0, 2)).toEqual([97, 96]);
    expect(minutes.missing(100)).toHaveLength(SHOWN - 3);
  });

  it('keep what was asked when the minute was over', () => {
    const minutes = new Minutes();
    minutes.note(98, minute({ succeeded: 5 }));
    minutes.note(98, minute({ succeeded: 3, isOver: false }));
    expect(minutes.get(98)?.succeeded).toBe(5);
  });
});

describe('the lines', () => {
  it('say nothing of minutes that are not known, and zero of quiet ones behind the newest that was asked', () => {
    const minutes = new Minutes();
    minutes.note(98, minute({ succeeded: 4 }));
    expect(linesOf(minutes, 100, 98, true, 0).succeeded.slice(-4)).toEqual([null, 4, 0, 0]);
    expect(linesOf(minutes, 100, 98, false, 0).succeeded.slice(-4)).toEqual([null, 4, null, null]);
  });

  it('reckon the jobs that had not ended backwards from those of now', () => {
    const minutes = new Minutes();
    minutes.note(100, minute({ created: 3, succeeded: 1 }));
    minutes.note(99, minute({ created: 0, failed: 4 }));
    expect(linesOf(minutes, 100, 100, true, 7).unfinished.slice(-4)).toEqual([null, 9, 5, 7]);
  });

  it('rise in time, one point a minute', () => {
    const { times } = linesOf(new Minutes(), 100, 0, false, null);
    expect(times).toHaveLength(SHOWN);
    expect(times.at(-1)).toBe(6_000);
    expect(times.at(-2)).toBe(5_940);
  });
});

describe('a share', () => {
  it('is a value that was there', () => {
    expect(share([5, 1, 3, 2, 4], 0.5)).toBe(3);
    expect(share([10, 20], 0.95)).toBe(20);
    expect(share([7], 0.5)).toBe(7);
    expect(share([], 0.5)).toBeNull();
    expect(share(undefined, 0.5)).toBeNull();
  });
});
