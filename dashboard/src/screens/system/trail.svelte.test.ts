// Owns the tests of walking the feed for the list of events.
import { afterEach, expect, it, vi } from 'vitest';
import { live } from '$lib/live/live.svelte';
import { Trail } from './trail.svelte';

afterEach(() => {
  vi.restoreAllMocks();
});

const EXPIRED = { data: null, problem: { kind: 'refused', code: 'CURSOR_EXPIRED', message: 'It is gone.' } };

function page(cursor: string) {
  const events = { cursor, hasMorePastEvents: false, events: [{ cursor }] };
  return { data: { eventCursor: cursor, events }, problem: null };
}

/** A trail over a daemon that answers so in turn, and behind which cursors it was asked. */
function trailOver(...answers: unknown[]): { trail: Trail; asked: unknown[]; isDone: () => Promise<void> } {
  const asked: unknown[] = [];
  const once = (_document: unknown, { after }: { after: unknown }) => {
    asked.push(after);
    return Promise.resolve(answers.shift());
  };
  vi.spyOn(live, 'once').mockImplementation(once as never);
  const trail = new Trail();
  const isDone = () =>
    vi.waitFor(() => {
      expect(trail.isWalking).toBe(false);
    });
  return { trail, asked, isDone };
}

it('a place that the feed has forgotten is left, and the walk begins at the oldest event', async () => {
  const { trail, asked, isDone } = trailOver(page('a'), EXPIRED, page('z'));
  trail.begin(['TASK_CHANGED']);
  await isDone();
  trail.walk();
  await isDone();
  expect(asked).toEqual([null, 'a', null]);
  expect([trail.problem, trail.events.map((event) => event.cursor)]).toEqual([null, ['z']]);
});

it('it is left once: what is refused again is told', async () => {
  const { trail, asked, isDone } = trailOver(page('a'), EXPIRED, EXPIRED, page('z'));
  trail.begin(['TASK_CHANGED']);
  await isDone();
  trail.walk();
  await isDone();
  expect([asked, trail.problem?.code]).toEqual([[null, 'a', null], 'CURSOR_EXPIRED']);
});
