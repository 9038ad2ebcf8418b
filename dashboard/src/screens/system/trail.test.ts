import { describe, expect, it } from 'vitest';
import { eventWords, KINDS, typesOf, type Said } from './trail';

const event = (type: Said['type'], data: unknown, given: Partial<Said> = {}): Said => ({
  type,
  data,
  taskName: null,
  jobId: null,
  ...given,
});

describe('the kinds', () => {
  it('leave the steps of jobs out without a choice', () => {
    const types = typesOf([]);
    expect(types).toContain('TOKEN_CHANGED');
    expect(types).toContain('HEALTH_CHANGED');
    expect(types).not.toContain('JOB_PROGRESS');
    expect(types).not.toContain('SCHEDULE_TICKED');
  });
  it('hold each type once', () => {
    const types = typesOf(KINDS);
    expect(new Set(types).size).toBe(types.length);
    expect(types).toHaveLength(16);
  });
});

describe('an event in words', () => {
  it('says what became of what', () => {
    expect(eventWords(event('TASK_CHANGED', { action: 'PUT', revision: 3 }, { taskName: 'web' }))).toBe(
      'put, revision 3',
    );
    expect(eventWords(event('QUEUE_CHANGED', { action: 'PAUSED', queue: 'mail', reason: 'moved' }))).toBe(
      'mail, paused, moved',
    );
    expect(eventWords(event('TOKEN_CHANGED', { action: 'CREATE', token: 'ci' }))).toBe('ci, create');
    expect(eventWords(event('JOB_STATE_CHANGED', { from: 'QUEUED', to: 'RUNNING', attempt: 1 }))).toBe(
      'queued to running',
    );
    expect(eventWords(event('ATTEMPT_FINISHED', { attempt: 2, outcome: 'TIMED_OUT', exitCode: null }))).toBe(
      'attempt 2, timed out',
    );
  });
  it('writes out the facts that it has no words for', () => {
    expect(eventWords(event('JOB_PROGRESS', { done: 3, unit: null, status: 'copying' }))).toBe(
      'done: 3, status: copying',
    );
    expect(eventWords(event('JOB_STATE_CHANGED', { changes: { priority: 5 } }))).toBe('changes: {"priority":5}');
    expect(eventWords(event('JOB_OUTPUT', null))).toBe('');
  });
});
