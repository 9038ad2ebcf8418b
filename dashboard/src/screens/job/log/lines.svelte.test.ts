// Owns the tests of the windows of a log: one that could not be read is read again.
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { noAnswer, unanswered } from '$lib/api/problem';
import { live } from '$lib/live/live.svelte';
import { Lines } from './lines.svelte';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const END = 1_000;
const OF = { jobId: 'job_1', attemptId: 'attempt_12', number: 1 };

/** The lines behind so many lines. */
function answer(after: number, count: number) {
  const lines = Array.from({ length: count }, (_, index) => ({
    cursor: `12.${String(after + index + 1)}`,
    at: '2026-11-26T12:00:00Z',
    stream: 'STDOUT',
    text: `line ${String(after + index)}`,
    isTruncated: false,
    droppedBefore: '0',
  }));
  const cursor = `12.${String(after + count)}`;
  const log = { cursor, hasMore: after + count < END, isComplete: true, droppedBytes: '0', isForgotten: false, lines };
  return { data: { eventCursor: 'e', node: { __typename: 'Attempt', log } }, problem: null };
}

/** An open log of which windows cannot be read while `trouble` says why, and how many pages were asked for. */
async function opened(trouble: { problem: unknown }) {
  const asked: number[] = [];
  const once = (_document: unknown, variables: { first?: number; after?: string; last?: number }) => {
    if (variables.first === undefined) return Promise.resolve(answer(END - 1, 1));
    const after = Number(variables.after?.slice(3));
    asked.push(after);
    return Promise.resolve(trouble.problem ? { data: null, problem: trouble.problem } : answer(after, variables.first));
  };
  vi.spyOn(live, 'once').mockImplementation(once as never);
  const lines = new Lines(OF);
  await lines.open();
  lines.want(0, 20);
  await vi.advanceTimersByTimeAsync(0);
  const text = () => {
    const row = lines.row(3);
    return row?.kind === 'line' ? row.text : null;
  };
  return { lines, asked, text };
}

it('a window that could not be read for a passing reason is read again by itself', async () => {
  const trouble: { problem: unknown } = { problem: noAnswer() };
  const { lines, asked, text } = await opened(trouble);
  expect([lines.isOpen, lines.problem?.kind, text(), asked]).toEqual([true, 'network', null, [0]]);
  await vi.advanceTimersByTimeAsync(3_500);
  expect(asked).toEqual([0, 0]);
  trouble.problem = null;
  await vi.advanceTimersByTimeAsync(10_000);
  expect([asked, text(), lines.problem]).toEqual([[0, 0, 0], 'line 3', null]);
  lines.close();
});

it('for another reason it waits until somebody tries again', async () => {
  const trouble: { problem: unknown } = { problem: unanswered('It is forbidden.') };
  const { lines, asked, text } = await opened(trouble);
  await vi.advanceTimersByTimeAsync(60_000);
  expect([asked, lines.problem?.message]).toEqual([[0], 'It is forbidden.']);
  trouble.problem = null;
  lines.retry();
  await vi.advanceTimersByTimeAsync(0);
  expect([asked, text(), lines.problem]).toEqual([[0, 0], 'line 3', null]);
  lines.close();
});

it('a log that is closed asks no more', async () => {
  const { lines, asked } = await opened({ problem: noAnswer() });
  lines.close();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(asked).toEqual([0]);
});
