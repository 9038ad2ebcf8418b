// Owns how an event of a job is told: one short sentence each, and which events say nothing of their own. Pure.
import type { EventType, JobState } from '$lib/api/graphql';
import { duration } from '$lib/format';
import { attemptOutcomes, jobStates, stopping, type Look } from '$lib/ui/states';

export interface JobEvent {
  readonly cursor: string;
  readonly type: EventType;
  readonly at: string;
  readonly actor: string;
  readonly peer?: string | null;
  readonly data: unknown;
}

export interface Told {
  readonly look: Look | null;
  readonly text: string;
}

/** The events that make up the history; progress is shown as it is, not as it was. */
export const HISTORY_TYPES = ['JOB_CREATED', 'JOB_STATE_CHANGED', 'ATTEMPT_STARTED', 'ATTEMPT_FINISHED'] as const;

type Data = Readonly<Record<string, unknown>>;

/** What an event says; null for one whose neighbour says the same. */
export function tell(event: JobEvent): Told | null {
  const data = (typeof event.data === 'object' && event.data !== null ? event.data : {}) as Data;
  switch (event.type) {
    case 'JOB_CREATED': {
      const look = lookOf(data['state']);
      return { look, text: `accepted${data['queue'] === undefined ? '' : ` into ${word(data['queue'])}`}` };
    }
    case 'JOB_STATE_CHANGED':
      return changed(data);
    case 'ATTEMPT_FINISHED':
      return finished(data);
    default:
      return null;
  }
}

function changed(data: Data): Told | null {
  const look = lookOf(data['to']);
  const message = typeof data['message'] === 'string' && data['message'] !== '' ? `: ${data['message']}` : '';
  const reason = typeof data['reason'] === 'string' && data['reason'] !== '' ? `: ${data['reason']}` : '';
  if (typeof data['changes'] === 'object' && data['changes'] !== null) {
    const changes = Object.entries(data['changes']).map(([key, value]) => `${key} ${change(value)}`);
    return { look, text: `changed: ${changes.join(', ')}` };
  }
  if (look === null) return null;
  if (data['stopRequested'] === true) return { look: stopping, text: `asked to stop${reason}` };
  const attempt =
    data['to'] === 'RUNNING' && typeof data['attempt'] === 'number' ? `, attempt ${word(data['attempt'])}` : '';
  return { look, text: `${look.word}${attempt}${message || reason}` };
}

function finished(data: Data): Told | null {
  const outcome = data['outcome'];
  if (typeof outcome !== 'string' || !(outcome in attemptOutcomes)) return null;
  const look = attemptOutcomes[outcome as keyof typeof attemptOutcomes];
  const end =
    outcome === 'EXITED'
      ? `exit ${word(data['exitCode'])}`
      : outcome === 'SIGNALED'
        ? `${look.word} ${word(data['signal'])}`
        : look.word;
  return { look, text: `attempt ${word(data['attempt'])} ended: ${end}` };
}

function lookOf(state: unknown): Look | null {
  return typeof state === 'string' && state in jobStates ? jobStates[state as JobState] : null;
}

function change(value: unknown): string {
  if (typeof value !== 'object' || value === null) return word(value);
  const { from, to } = value as { from?: unknown; to?: unknown };
  return to === undefined ? word(value) : `${from === undefined ? '' : `${word(from)} → `}${word(to)}`;
}

function word(value: unknown): string {
  return typeof value === 'string' ? value : value === undefined ? '' : JSON.stringify(value);
}

/** Who asked that the job ends, and why; null when no event says it. */
export function endedBy(
  events: readonly JobEvent[],
): { readonly actor: string; readonly reason: string | null } | null {
  const last = events.findLast((event) => event.type === 'JOB_STATE_CHANGED' && isEnding(event.data));
  if (!last) return null;
  const reason = (last.data as Data)['reason'];
  return { actor: last.actor, reason: typeof reason === 'string' && reason !== '' ? reason : null };
}

/** A stop of what runs, or the end of what never ran. */
function isEnding(data: unknown): boolean {
  if (typeof data !== 'object' || data === null) return false;
  const { stopRequested, from, to } = data as Data;
  return stopRequested === true || (to === 'CANCELLED' && from !== 'RUNNING');
}

/** How long after the one before it; empty when at once. */
export function later(at: string, before: string | undefined): string {
  const ms = before === undefined ? 0 : Date.parse(at) - Date.parse(before);
  return ms < 1_000 ? '' : `+${duration(ms)}`;
}
