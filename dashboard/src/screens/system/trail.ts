// Owns the audit list's words: which kinds of events one can ask for, and what an event says in one line. Pure.
import type { EventType } from '$lib/api/graphql';
import type { TrailEvent } from './documents';

export const KINDS = [
  'tasks',
  'schedules',
  'queues',
  'incidents',
  'tokens',
  'sinks',
  'workers',
  'health',
  'jobs',
  'progress',
  'attempts',
  'ticks',
] as const;
export type Kind = (typeof KINDS)[number];

const types: Record<Kind, readonly EventType[]> = {
  tasks: ['TASK_CHANGED'],
  schedules: ['SCHEDULE_CHANGED'],
  queues: ['QUEUE_CHANGED'],
  incidents: ['INCIDENT_OPENED', 'INCIDENT_CHANGED'],
  tokens: ['TOKEN_CHANGED'],
  sinks: ['SINK_CHANGED'],
  workers: ['WORKER_CHANGED'],
  health: ['HEALTH_CHANGED'],
  jobs: ['JOB_CREATED', 'JOB_STATE_CHANGED', 'JOB_OUTPUT'],
  progress: ['JOB_PROGRESS'],
  attempts: ['ATTEMPT_STARTED', 'ATTEMPT_FINISHED'],
  ticks: ['SCHEDULE_TICKED'],
};
/** What is shown without a choice: what people changed and what befell the daemon, not each step of each job. */
const UNCHOSEN: readonly Kind[] = KINDS.slice(0, KINDS.indexOf('jobs'));

export function typesOf(kinds: readonly Kind[]): EventType[] {
  return (kinds.length === 0 ? UNCHOSEN : kinds).flatMap((kind) => types[kind]);
}

/** `TASK_CHANGED` as "task changed". */
export const typeWords = (type: EventType): string => type.toLowerCase().replaceAll('_', ' ');

export type Said = Pick<TrailEvent, 'type' | 'taskName' | 'jobId' | 'data'>;

/** What the event is about and what became of it; the type stands beside it. */
export function eventWords(event: Said): string {
  const said = (name: string) => field(event.data, name);
  const done = (said('action') ?? said('change') ?? '').toLowerCase().replaceAll('_', ' ');
  switch (event.type) {
    case 'TASK_CHANGED':
      return join(done, said('revision') && `revision ${said('revision') ?? ''}`);
    case 'SCHEDULE_CHANGED':
      return join(said('name') ?? said('schedule'), done, said('reason'));
    case 'QUEUE_CHANGED':
      return join(said('queue'), done, said('reason'));
    case 'TOKEN_CHANGED':
      return join(said('token'), done);
    case 'SINK_CHANGED':
      return join(said('sink'), done, said('count') && `${said('count') ?? ''} letters`);
    case 'INCIDENT_OPENED':
    case 'INCIDENT_CHANGED':
      return join(said('title'), done);
    case 'HEALTH_CHANGED':
      return join(said('subsystem'), said('status')?.toLowerCase(), said('message'));
    case 'WORKER_CHANGED':
      return join(said('name'), said('status')?.toLowerCase());
    case 'JOB_STATE_CHANGED':
      return said('to')
        ? `${lower(said('from'))} to ${lower(said('to'))}${said('reason') ? `: ${said('reason') ?? ''}` : ''}`
        : rest(event.data);
    case 'JOB_CREATED':
      return join(lower(said('state')), said('queue') && `in ${said('queue') ?? ''}`);
    case 'ATTEMPT_STARTED':
      return `attempt ${said('attempt') ?? ''}`;
    case 'ATTEMPT_FINISHED':
      return join(
        `attempt ${said('attempt') ?? ''}`,
        lower(said('outcome')),
        said('exitCode') && `code ${said('exitCode') ?? ''}`,
      );
    case 'SCHEDULE_TICKED':
      return join(lower(said('outcome')), said('job'), said('dueAt') && `due ${said('dueAt') ?? ''}`);
    default:
      return rest(event.data);
  }
}

const lower = (word: string | null) => (word ?? '').toLowerCase().replaceAll('_', ' ');

function field(data: unknown, name: string): string | null {
  if (typeof data !== 'object' || data === null || !(name in data)) return null;
  const value = (data as Record<string, unknown>)[name];
  return typeof value === 'string' || typeof value === 'number' ? String(value) : null;
}

function join(...parts: readonly (string | null | undefined)[]): string {
  return parts.filter((part) => part).join(', ');
}

/** The facts of an event that has no words of its own here. */
function rest(data: unknown): string {
  if (typeof data !== 'object' || data === null) return '';
  return Object.entries(data)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name}: ${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(', ');
}
