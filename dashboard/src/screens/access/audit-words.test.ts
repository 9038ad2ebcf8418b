import { describe, expect, it } from 'vitest';
import { tell } from './audit-words';

describe('a change in words', () => {
  it('tells of tokens by their names', () => {
    const data = { action: 'CREATE', token: 'ci', grants: [] };
    const subject = { __typename: 'Token', id: 'token_2' };
    expect(tell({ type: 'TOKEN_CHANGED', taskName: null, data, subject })).toEqual({
      did: 'made the token',
      thing: 'ci',
      more: null,
    });
  });
  it('tells a revision and a reason', () => {
    const task = tell({
      type: 'TASK_CHANGED',
      taskName: 'backup',
      data: { action: 'PUT', revision: 3 },
      subject: { __typename: 'Task', id: 'task_1' },
    });
    expect(task).toEqual({ did: 'wrote the task', thing: 'backup', more: 'revision 3' });
    const queue = tell({
      type: 'QUEUE_CHANGED',
      taskName: null,
      data: { action: 'PAUSE', queue: 'deploy', reason: 'new disk' },
      subject: null,
    });
    expect(queue).toEqual({ did: 'paused the queue', thing: 'deploy', more: '“new disk”' });
  });
  it('tells what is not known yet by its own word', () => {
    const told = tell({
      type: 'SINK_CHANGED',
      taskName: null,
      data: { action: 'SENT_ON', sink: 'ops' },
      subject: null,
    });
    expect(told).toEqual({ did: 'sent on the sink', thing: 'ops', more: null });
  });
  it('tells why the daemon opened an incident again, and not what somebody noted before', () => {
    const data = { change: 'REGRESSED', title: 'sync: refused', note: 'fixed' };
    const subject = { __typename: 'Incident', id: 'incident_1' };
    expect(tell({ type: 'INCIDENT_CHANGED', taskName: 'sync', data, subject })).toEqual({
      did: 'reopened the incident',
      thing: 'sync: refused',
      more: 'it came back',
    });
  });
  it('does not stumble over data that is no object', () => {
    expect(tell({ type: 'TASK_CHANGED', taskName: 'a', data: null, subject: null })).toMatchObject({ thing: 'a' });
  });
});
