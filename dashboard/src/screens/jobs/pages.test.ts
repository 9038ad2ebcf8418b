// Owns the tests of how pages become one list, what is selected, and what a bulk action says that it will touch.
import { expect, it } from 'vitest';
import { ofPage, withHead, withNext, withNextBehind } from './pages';
import { everything, extended, IDS_MAX, isSelected, NOTHING, ofLoaded, toggled } from './selection';
import { touchedBy, waitOf, within } from './words';

const page = (ids: string, hasNextPage = true, searchedUntil: string | null = null) => ({
  nodes: [...ids].map((id) => ({ id })),
  pageInfo: { hasNextPage, endCursor: `after ${searchedUntil ?? ids.at(-1) ?? ''}` },
  searchedUntil,
});
const idsOf = (list: { rows: readonly { id: string }[] }) => list.rows.map((row) => row.id).join('');

it('a new head goes over the list, and what is loaded behind it stays', () => {
  const list = withNext(ofPage(page('abc')), page('def'));
  const grown = withHead(list, page('xab'), false);
  expect([idsOf(grown), grown.endCursor, grown.hasNext]).toEqual(['xabcdef', 'after f', true]);
});

it('a row that left the head is gone, one that moved to it is there once', () => {
  const list = withNext(ofPage(page('abc')), page('def'));
  expect(idsOf(withHead(list, page('acd'), false))).toBe('acdef');
  expect(idsOf(withHead(list, page('eab'), false))).toBe('eabcdf');
});

it('when too much is new the list begins anew', () => {
  const list = withNext(ofPage(page('abc')), page('def'));
  expect(withHead(list, page('xyz'), false)).toEqual(ofPage(page('xyz')));
});

it('a page that has nothing behind it is the whole list', () => {
  const list = withNext(ofPage(page('abc')), page('def', false));
  expect(idsOf(withHead(list, page('ab', false), true))).toBe('ab');
});

it('a next page brings no row twice', () => {
  const list = withNext(ofPage(page('abc')), page('cde', false));
  expect([idsOf(list), list.hasNext]).toEqual(['abcde', false]);
});

it('a next page that was asked for behind another end is not taken', () => {
  const list = ofPage(page('abc'));
  const anew = withHead(list, page('xyz'), false);
  expect(withNextBehind(anew, list.endCursor, page('def'))).toBeNull();
  expect(withNextBehind(list, list.endCursor, page('def'))).toEqual(withNext(list, page('def')));
});

it('what was found by looking further stays when the head is asked again', () => {
  const list = withNext(withNext(ofPage(page('', true, 'noon')), page('', true, 'ten')), page('cd', true, 'nine'));
  expect([idsOf(list), list.endCursor, list.searchedUntil]).toEqual(['cd', 'after nine', 'nine']);
  const grown = withHead(list, page('a', true, 'one'), false);
  expect([idsOf(grown), grown.endCursor, grown.searchedUntil]).toEqual(['acd', 'after nine', 'nine']);
  const ended = withNext(grown, page('e', false));
  expect([idsOf(ended), ended.hasNext, ended.searchedUntil]).toEqual(['acde', false, null]);
});

const loaded = [...'abcdef'];
it('one more, one less, a range, all', () => {
  const one = toggled(NOTHING, 'b', loaded);
  const several = extended(one, 'd', loaded);
  expect([...several.ids]).toEqual(['b', 'c', 'd']);
  expect([...extended(several, 'a', loaded).ids].sort()).toEqual(['a', 'b', 'c', 'd']);
  expect(toggled(one, 'b', loaded).ids.size).toBe(0);
  expect([...extended(NOTHING, 'c', loaded).ids]).toEqual(['c']);
  const all = everything(loaded);
  expect(isSelected(all, 'not loaded')).toBe(true);
  expect([...toggled(all, 'c', loaded).ids]).toEqual(['a', 'b', 'd', 'e', 'f']);
  expect(ofLoaded(Array.from({ length: 500 }, (_, at) => String(at))).ids.size).toBe(IDS_MAX);
});

const counts = {
  held: 1,
  blocked: 0,
  scheduled: 2,
  queued: 0,
  running: 1,
  retrying: 0,
  succeeded: 4,
  failed: 3,
  cancelled: 1,
  expired: 0,
  skipped: 0,
  isCapped: false,
};
it('a bulk action says what it will touch and what it will leave', () => {
  expect(touchedBy('cancel', counts, [])).toEqual({
    count: 4,
    words: '1 running job is asked to stop; 3 waiting jobs will never start. 8 jobs stay as they are: ended already.',
  });
  expect(touchedBy('retry', counts, [])).toEqual({
    count: 4,
    words: '4 new jobs are made: 3 failed and 1 cancelled. 8 jobs stay as they are: 4 succeeded and 4 have not ended.',
  });
  expect(touchedBy('retry', counts, ['SUCCEEDED']).count).toBe(8);
  expect(touchedBy('cancel', within(counts, ['RUNNING', 'FAILED']), []).count).toBe(1);
  const none = { ...counts, failed: 0, cancelled: 0, running: 0, held: 0, scheduled: 0, succeeded: 0 };
  expect(touchedBy('retry', none, []).words).toBe('There is nothing to do.');
});

it('the first reason is said, and how many others there are', () => {
  expect(waitOf({})).toBe('');
  const held = { __typename: 'HeldBlocker' as const, message: 'admin keeps it on hold', by: 'admin' };
  expect(waitOf({ blockers: [held, held] })).toBe('Admin keeps it on hold (and 1 other reason)');
});
