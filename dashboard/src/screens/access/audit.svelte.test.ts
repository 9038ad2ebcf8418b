// Owns the tests of reading the audit trail.
import { afterEach, expect, it, vi } from 'vitest';
import { live } from '$lib/live/live.svelte';
import { Audit } from './audit.svelte';

afterEach(() => {
  vi.restoreAllMocks();
});

const EXPIRED = { data: null, problem: { kind: 'refused', code: 'CURSOR_EXPIRED', message: 'It is gone.' } };

function page(cursor: string) {
  const events = { cursor, hasMorePastEvents: false, events: [{ cursor, actor: 'ci' }] };
  return { data: { eventCursor: cursor, events }, problem: null };
}

/** A daemon that answers so in turn, and behind which cursors it was asked. */
function answering(...answers: unknown[]): unknown[] {
  const asked: unknown[] = [];
  const once = (_document: unknown, { after }: { after: unknown }) => {
    asked.push(after);
    return Promise.resolve(answers.shift());
  };
  vi.spyOn(live, 'once').mockImplementation(once as never);
  return asked;
}

it('a place that the feed has forgotten is left, and the trail is read from its oldest event', async () => {
  const asked = answering(page('a'), EXPIRED, page('z'));
  const audit = new Audit();
  await audit.read();
  await audit.read();
  expect(asked).toEqual([null, 'a', null]);
  expect([audit.problem, audit.entries.map((entry) => entry.cursor)]).toEqual([null, ['z']]);
});

it('it is left once: what is refused again is told', async () => {
  const asked = answering(page('a'), EXPIRED, EXPIRED, page('z'));
  const audit = new Audit();
  await audit.read();
  await audit.read();
  expect([asked, audit.problem?.code, audit.isReading]).toEqual([[null, 'a', null], 'CURSOR_EXPIRED', false]);
});
