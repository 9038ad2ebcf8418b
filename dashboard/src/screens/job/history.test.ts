// Owns the tests of how events and states of a job are told.
import { expect, it } from 'vitest';
import { endOf, shownAttempt } from './attempts';
import { endedBy, later, tell, type JobEvent } from './history';
import { cause } from './state';

const event = (type: JobEvent['type'], data: unknown): JobEvent => ({
  cursor: 'c1',
  type,
  at: '2026-11-26T12:00:00.000Z',
  actor: 'admin',
  data,
});

it('events are told in words', () => {
  const texts = [
    event('JOB_CREATED', { queue: 'default', state: 'QUEUED' }),
    event('JOB_STATE_CHANGED', { from: 'QUEUED', to: 'RUNNING', attempt: 1 }),
    event('JOB_STATE_CHANGED', { from: 'RUNNING', to: 'RETRYING', attempt: 1, message: 'exit code 1' }),
    event('ATTEMPT_FINISHED', { attempt: 2, outcome: 'SIGNALED', signal: 'SIGSEGV' }),
    event('ATTEMPT_FINISHED', { attempt: 2, outcome: 'EXITED', exitCode: 3 }),
  ].map((each) => tell(each)?.text);
  expect(texts).toEqual([
    'accepted into default',
    'running, attempt 1',
    'retrying: exit code 1',
    'attempt 2 ended: ended by a signal SIGSEGV',
    'attempt 2 ended: exit 3',
  ]);
  expect(tell(event('ATTEMPT_STARTED', { attempt: 1 }))).toBeNull();
  expect(tell(event('JOB_STATE_CHANGED', null))).toBeNull();
});

it('how much later an event came', () => {
  expect(later('2026-11-26T12:00:05.500Z', '2026-11-26T12:00:00.000Z')).toBe('+5.5s');
  expect(later('2026-11-26T12:00:00.500Z', '2026-11-26T12:00:00.000Z')).toBe('');
  expect(later('2026-11-26T12:00:00.500Z', undefined)).toBe('');
});

it('the cause of a state', () => {
  const job = {
    state: 'FAILED' as const,
    createdAt: '2026-11-26T12:00:00Z',
    startedAt: '2026-11-26T12:00:00Z',
    finishedAt: '2026-11-26T12:01:32Z',
    stopRequestedAt: null,
    failure: { message: 'exit code 1.' },
  };
  expect(cause(job, 2)).toBe('exit code 1, after 2 attempts');
  expect(cause({ ...job, state: 'SUCCEEDED', failure: null }, 1)).toBe('in 1m 32s');
  const stopped = endedBy([
    event('JOB_STATE_CHANGED', { from: 'RUNNING', to: 'RUNNING', stopRequested: true, reason: 'wrong host' }),
    event('JOB_STATE_CHANGED', { from: 'RUNNING', to: 'CANCELLED', message: 'cancelled (ended by SIGTERM)' }),
  ]);
  const failure = { message: 'cancelled (ended by SIGTERM)' };
  expect(cause({ ...job, state: 'CANCELLED', failure }, 1, stopped)).toBe('by admin, wrong host (ended by SIGTERM)');
  const never = endedBy([event('JOB_STATE_CHANGED', { from: 'QUEUED', to: 'CANCELLED', reason: null })]);
  expect(cause({ ...job, state: 'CANCELLED', startedAt: null, failure: null }, 0, never)).toBe('by admin');
  expect(cause({ ...job, state: 'QUEUED', failure: null }, 0)).toBe('');
});

it('the address names an attempt, else it is the newest', () => {
  const attempts = [1, 2].map((number) => ({ number, outcome: 'EXITED' as const, exitCode: number, signal: null }));
  expect(shownAttempt(attempts, 1)?.number).toBe(1);
  expect(shownAttempt(attempts, 9)?.number).toBe(2);
  expect(shownAttempt([], null)).toBeNull();
  expect(attempts.map(endOf)).toEqual(['exit 1', 'exit 2']);
});
