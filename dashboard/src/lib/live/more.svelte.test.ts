// Owns the tests of the pages behind a first page that lives.
import { flushSync } from 'svelte';
import { expect, it } from 'vitest';
import { More, type Page } from './more.svelte';

type Row = { readonly id: string };

function page(ids: string, hasNextPage: boolean): Page<Row> {
  return { nodes: ids.split('').map((id) => ({ id })), pageInfo: { hasNextPage, endCursor: ids.at(-1) ?? null } };
}

it('a row that is pushed off the first page goes on standing behind it', async () => {
  let first = $state.raw(page('abc', true));
  const asked: (string | null)[] = [];
  let more: More<Row, Page<Row>> | undefined;
  const stop = $effect.root(() => {
    more = new More<Row, Page<Row>>({
      first: () => first,
      bring: (after) => {
        asked.push(after);
        return Promise.resolve({ data: page('de', true), problem: null });
      },
      page: (data) => data,
    });
  });
  const shown = () => {
    flushSync();
    return more?.rows.map((row) => row.id).join('');
  };
  expect(shown()).toBe('abc');
  first = page('xab', true);
  expect(shown()).toBe('xab');
  await more?.bring();
  expect(shown()).toBe('xabde');
  first = page('yxa', true);
  expect(shown()).toBe('yxabde');
  first = page('yab', true);
  expect(shown()).toBe('yabde');
  first = page('123', true);
  expect(shown()).toBe('123');
  expect(more?.isPart).toBe(true);
  await more?.bring();
  expect(asked).toEqual(['b', '3']);
  first = page('1', false);
  expect([shown(), more?.isPart]).toEqual(['1', false]);
  stop();
});

it('a row from behind that moved up and down again loses nobody, nor does a change while a page is brought', async () => {
  let first = $state.raw(page('abcd', true));
  let answer: ((page: Page<Row>) => void) | undefined;
  let more: More<Row, Page<Row>> | undefined;
  const stop = $effect.root(() => {
    more = new More<Row, Page<Row>>({
      first: () => first,
      bring: () =>
        new Promise((resolve) => {
          answer = (data) => {
            resolve({ data, problem: null });
          };
        }),
      page: (data) => data,
    });
  });
  const shown = () => {
    flushSync();
    return more?.rows.map((row) => row.id).join('');
  };
  expect(shown()).toBe('abcd');
  const brought = more?.bring();
  first = page('qabc', true);
  expect(shown()).toBe('qabc');
  answer?.(page('ef', true));
  await brought;
  expect(shown()).toBe('qabcdef');
  for (const [now, all] of [
    ['fqab', 'fqabcde'],
    ['xfqa', 'xfqabcde'],
    ['yxfq', 'yxfqabcde'],
    ['zyxf', 'zyxfqabcde'],
    ['wzyx', 'wzyxfqabcde'],
  ] as const) {
    first = page(now, true);
    expect(shown()).toBe(all);
  }
  stop();
});
