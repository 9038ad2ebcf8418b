// Owns the tests of addresses.
import { expect, it } from 'vitest';
import { choice, flag, href, match, router, several, text, useQuery, whole, words } from './router.svelte';

it.each([
  ['/', 'now', null],
  ['/jobs/', 'jobs', null],
  ['/jobs/job_12', 'job', 'job_12'],
  ['/tasks/sync%2Fcrm', 'task', 'sync/crm'],
  ['/tasks/100%', 'task', '100%'],
])('%s is %s', (path, name, parameter) => {
  expect(match(path)).toEqual({ name, parameter });
});

it('a path of no screen is none', () => {
  expect(match('/nowhere')).toBeNull();
  expect(match('/jobs/1/2')).toBeNull();
});

it('an address is read as it was written', () => {
  expect(href('job', { id: 'job_12' }, { tab: 'log', line: '40' })).toBe('/jobs/job_12?tab=log&line=40');
  expect(match(href('task', { name: 'a/b c' }))).toEqual({ name: 'task', parameter: 'a/b c' });
});

it('filters leave out what is as by default', () => {
  const tab = choice(['log', 'output']);
  expect([tab.read('output'), tab.read('x'), tab.write('log')]).toEqual(['output', 'log', null]);
  const states = several(['QUEUED', 'RUNNING']);
  expect([states.read('RUNNING,NO'), states.write([])]).toEqual([['RUNNING'], null]);
  expect([flag.read('1'), flag.write(false)]).toEqual([true, null]);
  expect([whole.read('12'), whole.read('-1'), whole.read(null)]).toEqual([12, null, null]);
  expect(words.read(words.write(['a,b', '100%']))).toEqual(['a,b', '100%']);
});

it('filters are read from the address and written to it, and Back undoes them', () => {
  history.replaceState(null, '', '/jobs?state=RUNNING&other=1');
  router.start();
  const filters = useQuery({ state: several(['QUEUED', 'RUNNING']), text, tab: choice(['log', 'output']) });
  expect(filters.values).toEqual({ state: ['RUNNING'], text: '', tab: 'log' });
  filters.set({ state: ['QUEUED', 'RUNNING'], tab: 'output' });
  expect(location.pathname + location.search).toBe('/jobs?state=QUEUED%2CRUNNING&other=1&tab=output');
  expect(filters.values.tab).toBe('output');
  filters.set({ text: 'dep' }, 'replace');
  expect(filters.href({ text: '', tab: 'log' })).toBe('/jobs?state=QUEUED%2CRUNNING&other=1');
  history.replaceState(null, '', '/jobs/job_4');
  dispatchEvent(new PopStateEvent('popstate'));
  expect(router.route).toEqual({ name: 'job', parameter: 'job_4' });
});
