// Owns the tests of the filters: the address, what the daemon is asked, which told job fits, which event moves a list.
import { describe, expect, it } from 'vitest';
import type { JobState } from '$lib/api/graphql';
import { cliOf, fits, isNarrow, jobFilter, moves, NO_FILTERS, range, retriedStates, type Filters } from './filter';
import { filterWords, tokensOf } from './tokens';

const NOW = Date.parse('2026-11-26T12:00:00Z');
const job = {
  state: 'FAILED' as JobState,
  task: { id: 'task_1', name: 'sync-crm' },
  queue: { id: 'queue_1', name: 'default' },
  labels: [{ key: 'team', value: 'crm' }],
  origin: 'SCHEDULE' as const,
  createdAt: '2026-11-26T11:30:00Z',
  finishedAt: '2026-11-26T11:59:00Z',
  command: { argv: ['sh', '-c', 'curl crm'], script: null, handler: null },
  failure: {
    outcome: 'EXITED' as const,
    message: 'It exited with code 1.',
    exitCode: 1,
    signal: null,
    errorLine: 'Connection refused',
  },
};
const only = (filters: Partial<Filters>): Filters => ({ ...NO_FILTERS, ...filters });

describe('a range in the address', () => {
  it.each(['24h', '15m', '2026-11-26T00:00:00.000Z..2026-11-26T06:00:00.000Z', '2026-11-26T00:00:00.000Z..'])(
    '%s is written as it was read',
    (raw) => {
      expect(range.write(range.read(raw))).toBe(raw);
    },
  );
  it.each(['', 'soon', '5x', '..', 'x..y'])('%j is none', (raw) => {
    expect(range.read(raw)).toBeNull();
  });
});

it('the daemon is asked for what stands in the filters only', () => {
  expect(jobFilter(NO_FILTERS, NOW)).toEqual({});
  expect(
    jobFilter(
      only({
        state: ['FAILED'],
        text: ' a ',
        label: ['team=crm', 'x'],
        created: { last: '1h' },
        incident: 'incident_1',
      }),
      NOW,
    ),
  ).toEqual({
    states: ['FAILED'],
    text: 'a',
    labels: [
      { key: 'team', value: 'crm' },
      { key: 'x', value: '' },
    ],
    created: { from: '2026-11-26T11:00:00.000Z' },
    incidentId: 'incident_1',
  });
});

it.each([
  [{}, 'yes'],
  [{ state: ['RUNNING'] }, 'no'],
  [{ state: ['FAILED', 'RUNNING'], task: ['sync-crm'], queue: ['default'], origin: ['SCHEDULE'] }, 'yes'],
  [{ label: ['team=crm'] }, 'yes'],
  [{ label: ['team=crm', 'team=web'] }, 'no'],
  [{ text: 'REFUSED' }, 'yes'],
  [{ text: 'curl' }, 'yes'],
  [{ text: 'nothing' }, 'no'],
  [{ created: { last: '15m' } }, 'no'],
  [{ finished: { from: '2026-11-26T11:59:00Z', to: null } }, 'yes'],
  [{ finished: { from: null, to: '2026-11-26T11:59:00Z' } }, 'no'],
  [{ incident: 'incident_1' }, 'unknown'],
  [{ incident: 'incident_1', state: ['RUNNING'] }, 'no'],
] as const)('%j: %s', (filters, fit) => {
  expect(fits(only(filters), job, NOW)).toBe(fit);
});

describe('an event moves the list', () => {
  const newest = { filters: NO_FILTERS, sort: 'newest' as const };
  const failed = { filters: only({ state: ['FAILED'] }), sort: 'newest' as const };
  it.each([
    ['a new job', 'JOB_CREATED', 'yes', false, newest, true],
    ['a new job that is there already', 'JOB_CREATED', 'yes', true, newest, false],
    ['another state of a job in a list of all', 'JOB_STATE_CHANGED', 'yes', true, newest, false],
    ['another state of a job further down', 'JOB_STATE_CHANGED', 'yes', false, newest, false],
    ['a job that comes to fit', 'JOB_STATE_CHANGED', 'yes', false, failed, true],
    ['a job that does not fit any more', 'JOB_STATE_CHANGED', 'no', true, failed, true],
    ['a job that never fitted', 'JOB_CREATED', 'no', false, failed, false],
    [
      'another place by another order',
      'JOB_STATE_CHANGED',
      'yes',
      true,
      { ...newest, sort: 'finished' as const },
      true,
    ],
  ] as const)('%s', (_what, type, fit, isListed, wanted, expected) => {
    expect(moves({ type }, fit, isListed, wanted)).toBe(expected);
  });
});

it.each([
  ['what was chosen and has ended', ['RUNNING', 'SUCCEEDED', 'FAILED'], 'newest', ['SUCCEEDED', 'FAILED']],
  ['nothing of what has not ended', ['RUNNING', 'HELD'], 'finished', []],
  ['nothing of an order of those that wait', [], 'next', []],
  ['nothing of an order of those that have not ended', [], 'priority', []],
  ['no success that only the order implies', [], 'finished', ['FAILED', 'CANCELLED', 'EXPIRED', 'SKIPPED']],
  ['no state where all jobs are shown', [], 'newest', null],
] as const)('all of a list that is retried: %s', (_what, state, sort, expected) => {
  expect(retriedStates(only({ state }), sort)).toEqual(expected);
});

it('the filters are said in words, each with what takes it away', () => {
  const filters = only({ state: ['FAILED', 'EXPIRED'], task: ['a', 'b'], created: { last: '24h' } });
  expect(filterWords(filters)).toBe('Failed and expired jobs; task a; task b; created in the last 24 h.');
  expect(tokensOf(filters)[0]).toEqual({ text: 'task a', without: { task: ['b'] } });
  expect(filterWords(NO_FILTERS)).toBe('Jobs in any state.');
  expect([isNarrow(only({ state: ['FAILED'] })), isNarrow(only({ text: 'a' }))]).toEqual([false, true]);
});

it('the CLI says what it has flags for', () => {
  expect(cliOf(only({ state: ['FAILED'], queue: ['deploy'], text: 'x' }))).toEqual({
    argv: ['beadle', 'jobs', '--state', 'failed', '--queue', 'deploy'],
    unsaid: ['text'],
  });
});
