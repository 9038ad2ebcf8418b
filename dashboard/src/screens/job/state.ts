// Owns what follows from the state of a job: whether it waits, whether it is over, and the sentence at its head. Pure.
import type { JobState } from '$lib/api/graphql';
import { counted, duration } from '$lib/format';

const WAITING: readonly JobState[] = ['HELD', 'BLOCKED', 'SCHEDULED', 'QUEUED', 'RETRYING'];
const FINAL: readonly JobState[] = ['SUCCEEDED', 'FAILED', 'CANCELLED', 'EXPIRED', 'SKIPPED'];

export const isWaiting = (state: JobState): boolean => WAITING.includes(state);
export const isFinal = (state: JobState): boolean => FINAL.includes(state);

interface Facts {
  readonly state: JobState;
  readonly createdAt: string;
  readonly startedAt: string | null;
  readonly finishedAt: string | null;
  readonly stopRequestedAt: string | null;
  readonly failure: { readonly message: string } | null;
}

/** Who asked that it ends. */
interface By {
  readonly actor: string;
  readonly reason: string | null;
}

/** Why it is as it is, behind the word of its state; empty where the word says all. */
export function cause(job: Facts, attemptCount: number, by: By | null = null): string {
  const message = job.failure?.message.replace(/[.\s]+$/, '') ?? '';
  const tries = attemptCount > 1 ? `, after ${counted(attemptCount, 'attempt')}` : '';
  const length =
    job.startedAt !== null && job.finishedAt !== null
      ? duration(Date.parse(job.finishedAt) - Date.parse(job.startedAt))
      : null;
  switch (job.state) {
    case 'SUCCEEDED':
      return `${length === null ? '' : `in ${length}`}${tries}`;
    case 'CANCELLED':
      return by === null ? message : `${said(by)}${message.replace(/^cancelled/, '')}`;
    case 'FAILED':
    case 'EXPIRED':
    case 'SKIPPED':
      return message === '' ? tries.slice(2) : `${message}${tries}`;
    case 'RUNNING':
      if (job.stopRequestedAt !== null) return by === null ? '' : `asked ${said(by)}`;
      return attemptCount > 1 ? `attempt ${String(attemptCount)}` : '';
    case 'RETRYING':
      return message === '' ? '' : `last time: ${message}`;
    default:
      return '';
  }
}

function said(by: By): string {
  return `by ${by.actor}${by.reason === null ? '' : `, ${by.reason}`}`;
}
