// Owns how a change is told in the audit trail: "paused the queue deploy, because of the new disk". Pure.
import type { EventType } from '$lib/api/graphql';

/** What people change; what jobs do is told on their own screens. */
export const AUDITED = [
  'TOKEN_CHANGED',
  'TASK_CHANGED',
  'SCHEDULE_CHANGED',
  'QUEUE_CHANGED',
  'INCIDENT_CHANGED',
  'SINK_CHANGED',
] as const satisfies readonly EventType[];

export interface Told {
  readonly type: EventType;
  readonly taskName: string | null;
  readonly data: unknown;
  readonly subject: { readonly __typename: string; readonly id: string; readonly name?: string } | null;
}

/** What was done, and to what: the verb before the thing, which may be a link, and more behind it. */
export interface Words {
  readonly did: string;
  readonly thing: string;
  readonly more: string | null;
}

const verbs: Readonly<Record<string, string>> = {
  PUT: 'wrote',
  ARCHIVE: 'archived',
  PAUSE: 'paused',
  RESUME: 'resumed',
  DELETE: 'deleted',
  CREATE: 'made',
  REVOKE: 'revoked',
  REDELIVER: 'sent again to',
  DISCARD: 'gave up letters of',
  ACKNOWLEDGED: 'acknowledged',
  RESOLVED: 'resolved',
  IGNORED: 'ignored',
  REGRESSED: 'reopened',
  ESCALATED: 'raised',
  REOPENED: 'reopened',
};

/** What the daemon does by itself, and why. The note that stands on the incident is of before. */
const reasons: Readonly<Record<string, string>> = {
  REGRESSED: 'it came back',
  ESCALATED: 'it has grown tenfold',
  REOPENED: 'it was ignored until now',
};

const nouns: Partial<Record<EventType, string>> = {
  TOKEN_CHANGED: 'the token',
  TASK_CHANGED: 'the task',
  SCHEDULE_CHANGED: 'the schedule',
  QUEUE_CHANGED: 'the queue',
  INCIDENT_CHANGED: 'the incident',
  SINK_CHANGED: 'the sink',
};

export function tell(event: Told): Words {
  const data = (typeof event.data === 'object' && event.data !== null ? event.data : {}) as Record<string, unknown>;
  const text = (key: string) => (typeof data[key] === 'string' ? data[key] : null);
  const number = (key: string) => (typeof data[key] === 'number' ? data[key] : null);
  const act = text('action') ?? text('change') ?? '';
  const name = event.type === 'TASK_CHANGED' ? event.taskName : (event.subject?.name ?? null);
  const revision = number('revision');
  const reason = text('reason') ?? text('note');
  const until = text('until');
  const assignee = text('assignee');
  const ownReason = reasons[act];
  const more = [
    revision === null ? null : `revision ${String(revision)}`,
    assignee === null ? null : `for ${assignee}`,
    until === null ? null : `until ${until}`,
    reason === null || reason === '' ? null : `“${reason}”`,
  ].filter((part) => part !== null);
  return {
    did: `${verbs[act] ?? act.toLowerCase().replaceAll('_', ' ')} ${nouns[event.type] ?? ''}`.trim(),
    thing:
      text('token') ??
      text('title') ??
      text('sink') ??
      text('queue') ??
      name ??
      text('name') ??
      event.subject?.id ??
      '',
    more: ownReason ?? (more.length === 0 ? null : more.join(', ')),
  };
}
