// Owns the form of a schedule as plain values: from a schedule, to the input of the daemon, and what can be said wrong
// of it before it is sent. The daemon has the last word. Pure.
import type { Problem } from '$lib/api/problem';
import { lengthOf, lengthText, NO_LENGTH } from '$lib/length';
import { millisecondsOf } from '$lib/format';
import type { Misfire, Overlap, PutInput } from './actions';
import type { ScheduleShown } from './documents';

export interface Form {
  name: string;
  task: string;
  kind: 'every' | 'cron';
  every: string;
  cron: string;
  timeZone: string;
  jitter: string;
  misfire: Misfire;
  misfireWindow: string;
  overlap: Overlap;
  isPaused: boolean;
}

export const DEFAULT_WINDOW = '1d';

/** An empty form. */
export function newForm(taskName: string | null, timeZone: string): Form {
  return {
    name: '',
    task: taskName ?? '',
    kind: 'cron',
    every: '',
    cron: '',
    timeZone,
    jitter: '0s',
    misfire: 'RUN_ONCE',
    misfireWindow: DEFAULT_WINDOW,
    overlap: 'SKIP',
    isPaused: false,
  };
}

/** What can be changed of a schedule. */
export type Definition = Pick<
  ScheduleShown,
  'name' | 'task' | 'timing' | 'timeZone' | 'jitter' | 'misfire' | 'misfireWindow' | 'overlap' | 'parameters'
>;

/** The form of a schedule as it is. */
export function formOf(schedule: Definition): Form {
  const { timing } = schedule;
  return {
    name: schedule.name,
    task: schedule.task.name,
    kind: timing.__typename === 'IntervalTiming' ? 'every' : 'cron',
    every: timing.__typename === 'IntervalTiming' ? shortOf(timing.every) : '',
    cron: timing.__typename === 'CronTiming' ? timing.cron : '',
    timeZone: schedule.timeZone,
    jitter: shortOf(schedule.jitter),
    misfire: schedule.misfire,
    misfireWindow: shortOf(schedule.misfireWindow),
    overlap: schedule.overlap,
    isPaused: false,
  };
}

function shortOf(length: string): string {
  const ms = millisecondsOf(length);
  return ms === null ? length : lengthText(ms);
}

/** What the daemon is told. */
export function inputOf(form: Form, isNew: boolean, parameters: unknown): PutInput {
  return {
    name: form.name.trim(),
    task: { name: form.task },
    timing: timingOf(form),
    timeZone: form.timeZone,
    jitter: lengthSent(form.jitter, '0s'),
    misfire: form.misfire,
    misfireWindow: lengthSent(form.misfireWindow, DEFAULT_WINDOW),
    overlap: form.overlap,
    parameters: parameters ?? null,
    isPaused: isNew && form.isPaused ? true : null,
  };
}

export function timingOf(form: Pick<Form, 'kind' | 'every' | 'cron'>): PutInput['timing'] {
  return form.kind === 'every' ? { every: lengthSent(form.every, '') } : { cron: form.cron.trim() };
}

/** A length as it is sent, without the spaces and capitals that people may type: what is empty is the default. */
export function lengthSent(text: string, otherwise: string): string {
  const ms = lengthOf(text);
  return ms === null ? text.trim() || otherwise : lengthText(ms);
}

export type FieldName = 'name' | 'task' | 'every' | 'cron' | 'timeZone' | 'jitter' | 'misfireWindow';
export type Slips = Partial<Record<FieldName, string>>;

/** What the page itself can tell is wrong. */
export function slips(form: Form): Slips {
  const found: Slips = {};
  if (form.kind === 'every' && form.every.trim() !== '' && lengthOf(form.every) === null) found.every = NO_LENGTH;
  for (const field of ['jitter', 'misfireWindow'] as const) {
    if (form[field].trim() !== '' && lengthOf(form[field]) === null) found[field] = NO_LENGTH;
  }
  return found;
}

/** What is still missing, as the field's name; null when it can be sent. */
export function missing(form: Form): string | null {
  if (form.name.trim() === '') return 'It needs a name.';
  if (form.task === '') return 'It needs a task.';
  if ((form.kind === 'every' ? form.every : form.cron).trim() === '') return 'It needs a time.';
  return null;
}

/** What a preview was refused for, at its field. */
export function previewSlip({ message, inputPath }: Pick<Problem, 'message' | 'inputPath'>): {
  readonly field: FieldName | null;
  readonly text: string;
} {
  if (!inputPath) return { field: null, text: message };
  const named = inputPath.at(-1);
  const field = (['every', 'cron', 'timeZone', 'jitter', 'name'] as const).find((each) => each === named) ?? null;
  // The message begins with the path, which stands at the field already.
  const words = message.slice(message.indexOf(': ') + 2);
  return { field, text: words.charAt(0).toUpperCase() + words.slice(1) };
}
