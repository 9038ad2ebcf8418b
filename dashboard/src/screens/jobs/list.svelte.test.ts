// Owns the tests of the list of jobs: what comes in while a next page is under way loses no row.
import { flushSync } from 'svelte';
import { afterEach, expect, it, vi } from 'vitest';
import { live } from '$lib/live/live.svelte';
import { NO_FILTERS } from './filter';
import { JobList } from './list.svelte';

afterEach(() => {
  vi.restoreAllMocks();
});

function page(ids: string) {
  const nodes = [...ids].map((id) => ({ id }));
  return { jobs: { nodes, pageInfo: { hasNextPage: true, endCursor: ids.at(-1) ?? null }, searchedUntil: null } };
}

it('a next page that comes behind a new first one is asked for again behind the new end', async () => {
  let data = $state.raw(page('abc'));
  const load = {
    get data() {
      return data;
    },
    problem: null,
    isLoading: false,
  };
  const loading = (_document: unknown, variables: () => unknown) => {
    $effect(() => {
      variables();
    });
    return load;
  };
  vi.spyOn(live, 'load').mockImplementation(loading as never);
  const answers: ((page: unknown) => void)[] = [];
  const asked: unknown[] = [];
  const once = (_document: unknown, { after }: { after: string | null }) => {
    asked.push(after);
    return new Promise((resolve) => {
      answers.push((answer) => {
        resolve({ data: answer, problem: null });
      });
    });
  };
  vi.spyOn(live, 'once').mockImplementation(once as never);
  let list: JobList | undefined;
  const isBusy = () => false;
  const wanted = { filters: NO_FILTERS, sort: 'newest' as const };
  const stop = $effect.root(() => {
    list = new JobList(() => wanted, isBusy);
  });
  flushSync();
  const brought = list?.next();
  data = page('xyz');
  flushSync();
  answers[0]?.(page('def'));
  await vi.waitFor(() => {
    expect(asked).toEqual(['c', 'z']);
  });
  answers[1]?.(page('abc'));
  await brought;
  expect(list?.rows.map((row) => row.id).join('')).toBe('xyzabc');
  stop();
});
