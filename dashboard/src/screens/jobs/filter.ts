// Owns the filters of the jobs screen: how they stand in the address, what the daemon is asked with them, whether a job
// that the feed tells of fits and moves the list, and how the CLI says the same. Pure.
import type { JobState } from '$lib/api/graphql';
import { commandLine, shellWord } from '$lib/format';
import type { LiveEvent } from '$lib/live/feed';
import type { JobRow } from '$lib/live/fragments';
import { choice, optional, several, text, words, type Part } from '$lib/router.svelte';
import type { JobFilter, JobOrder } from './documents';

/** In the order of a job's life; also that of the chips. */
export const STATES = [
  'RUNNING',
  'QUEUED',
  'SCHEDULED',
  'BLOCKED',
  'HELD',
  'RETRYING',
  'SUCCEEDED',
  'FAILED',
  'CANCELLED',
  'EXPIRED',
  'SKIPPED',
] as const satisfies readonly JobState[];
export const WAITING = ['QUEUED', 'SCHEDULED', 'BLOCKED', 'HELD', 'RETRYING'] as const;
export const FINAL: readonly JobState[] = ['SUCCEEDED', 'FAILED', 'CANCELLED', 'EXPIRED', 'SKIPPED'];
export const isFinal = (state: JobState): boolean => FINAL.includes(state);
export const ORIGINS = ['API', 'SCHEDULE', 'RETRY'] as const;
export const ORIGIN_WORDS = { API: 'asked for', SCHEDULE: 'by a schedule', RETRY: 'retried' } as const;

/** A time: the last so and so long, or from one instant to another. */
export type Range = { readonly last: string } | { readonly from: string | null; readonly to: string | null };

const UNITS: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Milliseconds of `15m`, `24h`, `7d`; null for anything else. */
export function lastMs(last: string): number | null {
  const found = /^(\d{1,4})([mhd])$/.exec(last);
  return found ? Number(found[1]) * (UNITS[found[2] ?? ''] ?? 0) : null;
}

function instant(raw: string | undefined): string | null {
  const at = raw ? Date.parse(raw) : NaN;
  return Number.isNaN(at) ? null : new Date(at).toISOString();
}

/** `24h`, or `FROM..TO` of which one may be empty. */
export const range: Part<Range | null> = {
  read(raw) {
    if (raw === null) return null;
    if (lastMs(raw) !== null) return { last: raw };
    const [from, to] = raw.split('..');
    const read = { from: instant(from), to: instant(to) };
    return raw.includes('..') && (read.from ?? read.to) !== null ? read : null;
  },
  write(value) {
    if (value === null) return null;
    if ('last' in value) return value.last;
    return value.from === null && value.to === null ? null : `${value.from ?? ''}..${value.to ?? ''}`;
  },
};

export const SORTS = ['newest', 'oldest', 'next', 'finished', 'priority'] as const;
export type Sort = (typeof SORTS)[number];
/** Some orders are of some states only, unless others are chosen: what has not ended has no place among what ended. */
export const sorts: Record<Sort, { words: string; order: JobOrder; states: readonly JobState[] }> = {
  newest: { words: 'Newest first', order: { field: 'CREATED_AT', direction: 'DESC' }, states: [] },
  oldest: { words: 'Oldest first', order: { field: 'CREATED_AT', direction: 'ASC' }, states: [] },
  next: { words: 'Waiting, next to start first', order: { field: 'RUN_AT', direction: 'ASC' }, states: WAITING },
  finished: { words: 'Ended, last one first', order: { field: 'FINISHED_AT', direction: 'DESC' }, states: FINAL },
  priority: {
    words: 'Not ended, highest priority first',
    order: { field: 'PRIORITY', direction: 'DESC' },
    states: ['RUNNING', ...WAITING],
  },
};

/** The filters as `useQuery` reads them. A label is written `key=value`. */
export const filterParts = {
  state: several(STATES),
  text,
  task: words,
  queue: words,
  label: words,
  origin: several(ORIGINS),
  created: range,
  finished: range,
  incident: optional,
  schedule: optional,
  sort: choice(SORTS),
};

export interface Filters {
  readonly state: readonly JobState[];
  readonly text: string;
  readonly task: readonly string[];
  readonly queue: readonly string[];
  readonly label: readonly string[];
  readonly origin: readonly (typeof ORIGINS)[number][];
  readonly created: Range | null;
  readonly finished: Range | null;
  readonly incident: string | null;
  readonly schedule: string | null;
}

/** What "clear" sets. */
export const NO_FILTERS: Filters = {
  state: [],
  text: '',
  task: [],
  queue: [],
  label: [],
  origin: [],
  created: null,
  finished: null,
  incident: null,
  schedule: null,
};

/** Whether anything but the state is filtered. */
export function isNarrow(filters: Filters): boolean {
  const { text, task, queue, label, origin, created, finished, incident, schedule } = filters;
  const lists: readonly (readonly string[])[] = [task, queue, label, origin];
  return text !== '' || lists.some((list) => list.length > 0) || [created, finished, incident, schedule].some(Boolean);
}

/** `key=value`; a text without a sign is a key with an empty value. */
export function labelOf(written: string): { key: string; value: string } {
  const at = written.indexOf('=');
  return at < 0 ? { key: written, value: '' } : { key: written.slice(0, at), value: written.slice(at + 1) };
}

function asked(wanted: Range | null, now: number): { from?: string; to?: string } | null {
  if (wanted === null) return null;
  if ('last' in wanted) return { from: new Date(now - (lastMs(wanted.last) ?? 0)).toISOString() };
  return { ...(wanted.from === null ? {} : { from: wanted.from }), ...(wanted.to === null ? {} : { to: wanted.to }) };
}

/** What the daemon is asked. `now` is where a range of the last hours ends. */
export function jobFilter(filters: Filters, now: number): JobFilter {
  const filter: JobFilter = {};
  if (filters.state.length > 0) filter.states = [...filters.state];
  if (filters.text.trim() !== '') filter.text = filters.text.trim();
  if (filters.task.length > 0) filter.tasks = [...filters.task];
  if (filters.queue.length > 0) filter.queues = [...filters.queue];
  if (filters.label.length > 0) filter.labels = filters.label.map(labelOf);
  if (filters.origin.length > 0) filter.origins = [...filters.origin];
  const [created, finished] = [asked(filters.created, now), asked(filters.finished, now)];
  if (created) filter.created = created;
  if (finished) filter.finished = finished;
  if (filters.incident !== null) filter.incidentId = filters.incident;
  if (filters.schedule !== null) filter.scheduleId = filters.schedule;
  return filter;
}

/** The states that "retry all" of a list names: those that ended, of what was chosen or else of what the order is of.
 * null names none, and the daemon takes all that ended but did not succeed; an empty list: nothing of it has ended. */
export function retriedStates(filters: Filters, sort: Sort): readonly JobState[] | null {
  if (filters.state.length > 0) return filters.state.filter(isFinal);
  const { states } = sorts[sort];
  // States that only the order implies do not ask for those that succeeded.
  return states.length === 0 ? null : states.filter((state) => isFinal(state) && state !== 'SUCCEEDED');
}

type Facts = Pick<
  JobRow,
  'state' | 'task' | 'queue' | 'labels' | 'origin' | 'createdAt' | 'finishedAt' | 'command' | 'failure'
>;

/** Whether a job fits, as far as the page can know: the daemon alone knows incidents and schedules. */
export function fits(filters: Filters, job: Facts, now: number): 'yes' | 'no' | 'unknown' {
  const misses =
    isMissing(filters.state, job.state) ||
    isMissing(filters.origin, job.origin) ||
    isMissing(filters.queue, job.queue.name) ||
    isMissing(filters.task, job.task?.name ?? '') ||
    !filters.label.every((written) => hasLabel(job, written)) ||
    !isWithin(filters.created, job.createdAt, now) ||
    !isWithin(filters.finished, job.finishedAt, now) ||
    !holdsText(job, filters.text);
  if (misses) return 'no';
  return filters.incident === null && filters.schedule === null ? 'yes' : 'unknown';
}

function isMissing<T>(wanted: readonly T[], value: T): boolean {
  return wanted.length > 0 && !wanted.includes(value);
}

function hasLabel(job: Facts, written: string): boolean {
  const wanted = labelOf(written);
  return job.labels.some((label) => label.key === wanted.key && label.value === wanted.value);
}

function isWithin(wanted: Range | null, at: string | null, now: number): boolean {
  const times = asked(wanted, now);
  if (times === null) return true;
  if (at === null) return false;
  const time = Date.parse(at);
  if (times.from !== undefined && time < Date.parse(times.from)) return false;
  return times.to === undefined || time < Date.parse(times.to);
}

function holdsText(job: Facts, wanted: string): boolean {
  const needle = wanted.trim().toLowerCase();
  if (needle === '') return true;
  const { command, failure, task } = job;
  const hay = [task?.name, commandLine(command), command.script, failure?.message, failure?.errorLine];
  return hay.some((text) => text?.toLowerCase().includes(needle));
}

export interface Wanted {
  readonly filters: Filters;
  readonly sort: Sort;
}

/** Whether an event may put a job into the list, out of it or elsewhere in it. */
export function moves(
  event: Pick<LiveEvent, 'type'>,
  fit: 'yes' | 'no' | 'unknown',
  isListed: boolean,
  { filters, sort }: Wanted,
): boolean {
  if (fit === 'no') return isListed;
  if (event.type === 'JOB_CREATED') return !isListed;
  const isFixed = sort === 'newest' || sort === 'oldest';
  if (isListed) return !isFixed && fit === 'yes';
  // A job that is not loaded, as it would have been before: only what the event may have changed brings it here.
  const dependsOnState =
    filters.state.length > 0 || filters.finished !== null || filters.text !== '' || filters.incident !== null;
  return dependsOnState || !isFixed;
}

/** The list in the words of the CLI, and what its flags cannot say. */
export function cliOf(filters: Filters): { argv: string[]; unsaid: string[] } {
  const each = (flag: string, values: readonly string[]) => values.flatMap((value) => [flag, value]);
  const argv = ['beadle', 'jobs'].concat(
    each(
      '--state',
      filters.state.map((state) => state.toLowerCase()),
    ),
    each('--task', filters.task),
    each('--queue', filters.queue),
    each('--label', filters.label),
    filters.incident === null ? [] : ['--incident', filters.incident],
  );
  const unsaid = (
    [
      ['text', filters.text.trim() !== ''],
      ['origin', filters.origin.length > 0],
      ['created', filters.created !== null],
      ['finished', filters.finished !== null],
      ['schedule', filters.schedule !== null],
    ] as const
  ).flatMap(([name, isSet]) => (isSet ? [name] : []));
  return { argv, unsaid };
}

/** A bulk action in the words of the CLI. It has no flag for some filters and takes one id at a time. */
export function cliOfBulk(verb: 'cancel' | 'retry', filter: JobFilter, max: number): string {
  const { ids, states, tasks, queues, labels, ...rest } = filter;
  if (ids) return ids.map((id) => `beadle ${verb} ${id}`).join('\n');
  const flags: [string, string][] = [
    ...(states ?? []).map((state): [string, string] => ['--state', state.toLowerCase()]),
    ...(tasks ?? []).map((task): [string, string] => ['--task', task]),
    ...(queues ?? []).map((queue): [string, string] => ['--queue', queue]),
    ...(labels ?? []).map(({ key, value }): [string, string] => ['--label', `${key}=${value}`]),
  ];
  const every = flags.length > 0 ? '' : verb === 'cancel' ? ' --all' : ' --failed';
  const words = flags.map(([flag, value]) => ` ${flag} ${shellWord(value)}`).join('');
  const unsaid = Object.keys(rest).map((key) => key.replace(/Id$/, ''));
  const remark = unsaid.length === 0 ? '' : ` # not said here, the command has no flag for it: ${unsaid.join(', ')}`;
  return `beadle ${verb}${every}${words} --max ${String(max)}${remark}`;
}
