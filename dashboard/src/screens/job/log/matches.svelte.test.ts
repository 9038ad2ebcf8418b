// Owns the tests of a search in a log: it stands still after a problem, comes back when it is told to, and ends.
import { afterEach, expect, it, vi } from 'vitest';
import { noAnswer } from '$lib/api/problem';
import { live } from '$lib/live/live.svelte';
import { Matches } from './matches.svelte';

afterEach(() => {
  vi.restoreAllMocks();
});

const OF = { jobId: 'job_1', attemptId: 'attempt_12', number: 1 };
const LOST = { data: null, problem: noAnswer() };

/** A page with so many lines up to a line of the log. */
function page(end: number, count: number, hasMore: boolean) {
  const lines = Array.from({ length: count }, (_, index) => ({
    cursor: `12.${String(end - count + index + 1)}`,
    at: '2026-11-26T12:00:00Z',
    stream: 'STDOUT',
    text: 'refused',
    isTruncated: false,
    droppedBefore: '0',
  }));
  const cursor = `12.${String(end)}`;
  const log = { cursor, hasMore, isComplete: !hasMore, droppedBytes: '0', isForgotten: false, lines };
  return { data: { eventCursor: 'e', node: { __typename: 'Attempt', log } }, problem: null };
}

/** A search in a log of a daemon that answers so in turn, and how often it was asked. */
function searching(...answers: unknown[]) {
  const once = vi.spyOn(live, 'once').mockImplementation((() => Promise.resolve(answers.shift())) as never);
  const matches = new Matches(OF, { streams: [], grep: 'refused', onlyErrors: false });
  matches.open();
  const isDone = () =>
    vi.waitFor(() => {
      expect(matches.isSearching).toBe(false);
    });
  return { matches, isDone, asked: () => once.mock.calls.length };
}

it('a search that failed has not ended, asks nothing by itself and goes on when it is told to', async () => {
  const { matches, isDone, asked } = searching(LOST, LOST, page(10, 2, false));
  await isDone();
  expect([matches.problem?.kind, matches.isAtEnd, matches.count]).toEqual(['network', false, 0]);
  matches.want(0, 50);
  expect([asked(), matches.isSearching]).toEqual([1, false]);
  matches.again();
  await isDone();
  expect([asked(), matches.problem?.kind]).toEqual([2, 'network']);
  matches.again();
  await isDone();
  expect([matches.problem, matches.isAtEnd, matches.isComplete, matches.count]).toEqual([null, true, true, 2]);
  matches.again();
  expect(asked()).toBe(3);
});

it('a search that comes no further, or whose attempt is gone, is a problem and not an end', async () => {
  const stuck = searching(page(10, 0, true), page(10, 0, true));
  await stuck.isDone();
  expect([stuck.asked(), stuck.matches.problem === null, stuck.matches.isAtEnd]).toEqual([2, false, false]);
  vi.restoreAllMocks();
  const gone = searching({ data: { eventCursor: 'e', node: null }, problem: null });
  await gone.isDone();
  expect([gone.matches.problem?.message, gone.matches.isAtEnd]).toEqual([
    'The daemon does not know this attempt any more.',
    false,
  ]);
});

it('what was wanted while it was searching is looked for afterwards', async () => {
  const { matches, isDone, asked } = searching(page(1_000, 1_000, true), page(2_000, 3, false));
  matches.want(0, 990);
  await isDone();
  await vi.waitFor(() => {
    expect(asked()).toBe(2);
  });
  await isDone();
  expect(matches.count).toBe(1_003);
});
