// Owns the marks of a Strip: how a job, a tick, a time to come or a day becomes a bar. Height is length or count on
// one scale; shape and hue are the outcome.
import type { JobState, TickOutcome } from '$lib/api/graphql';
import { absolute, counted, duration } from '$lib/format';
import { jobStates, tickOutcomes, type Hue } from './states';

/** full: went well. cut: failed. gap: was stopped. hollow: left out. dashed: missed. faint: to come. stripe: under way. */
export type MarkShape = 'full' | 'cut' | 'gap' | 'hollow' | 'dashed' | 'faint' | 'stripe';

export interface Mark {
  readonly key: string;
  readonly shape: MarkShape;
  readonly hue: Hue;
  /** On any scale; the strip makes the largest one full height. null: the least height. */
  readonly value: number | null;
  /** One line on hover, on focus and for a screen reader. */
  readonly title: string;
  readonly href?: string | undefined;
}

const jobShapes: Record<JobState, MarkShape> = {
  HELD: 'hollow',
  BLOCKED: 'hollow',
  SCHEDULED: 'faint',
  QUEUED: 'hollow',
  RUNNING: 'stripe',
  RETRYING: 'stripe',
  SUCCEEDED: 'full',
  FAILED: 'cut',
  CANCELLED: 'gap',
  EXPIRED: 'dashed',
  SKIPPED: 'hollow',
};

interface JobLike {
  readonly id: string;
  readonly state: JobState;
  readonly startedAt: string | null;
  readonly finishedAt: string | null;
}

/** A job: its height is how long it ran. */
export function jobMark(job: JobLike, now: number, href?: string): Mark {
  const look = jobStates[job.state];
  const end = job.finishedAt === null ? now : Date.parse(job.finishedAt);
  const length = job.startedAt === null ? null : Math.max(0, end - Date.parse(job.startedAt));
  const when = job.finishedAt ?? job.startedAt;
  const title = [
    job.id,
    look.word,
    length === null ? null : job.finishedAt === null ? `for ${duration(length)}` : `in ${duration(length)}`,
    when === null ? null : absolute(Date.parse(when)),
  ];
  return {
    key: job.id,
    shape: jobShapes[job.state],
    hue: look.hue,
    value: length,
    title: title.filter((part) => part !== null).join(', '),
    href,
  };
}

const tickShapes: Record<TickOutcome, MarkShape> = {
  STARTED: 'full',
  CAUGHT_UP: 'full',
  TRIGGERED: 'full',
  SKIPPED_OVERLAP: 'hollow',
  SKIPPED_PAUSED: 'hollow',
  DROPPED_MISFIRE: 'dashed',
};

interface TickLike {
  readonly dueAt: string;
  readonly outcome: TickOutcome;
  readonly count: number;
  readonly job?: JobLike | null;
}

/** A due time of the past: as its job when it made one. */
export function tickMark(tick: TickLike, now: number, href?: string): Mark {
  const look = tickOutcomes[tick.outcome];
  const times = tick.count > 1 ? `, ${counted(tick.count, 'due time')}` : '';
  const title = `${absolute(Date.parse(tick.dueAt))}, ${look.word}${times}`;
  const key = `${tick.dueAt} ${tick.outcome}`;
  if (!tick.job) return { key, shape: tickShapes[tick.outcome], hue: look.hue, value: null, title, href };
  const mark = jobMark(tick.job, now, href);
  return { ...mark, key, title: `${title}: ${mark.title}` };
}

/** A due time to come. */
export function dueMark(at: string, note: string | null = null): Mark {
  const title = `${absolute(Date.parse(at))}, to come${note === null ? '' : `: ${note}`}`;
  return { key: at, shape: 'faint', hue: 'later', value: null, title };
}

/** A part of time with a count, such as a day of an incident. */
export function countMark(key: string, count: number, when: string, noun = 'failure', hue: Hue = 'bad'): Mark {
  const title = `${when}: ${count === 0 ? `no ${noun}` : counted(count, noun)}`;
  return { key, shape: count === 0 ? 'faint' : 'full', hue: count === 0 ? 'wait' : hue, value: count || null, title };
}
