// Owns how a schedule's actions are written for other doors, and its policies in words.
import type { VariablesOf } from '$lib/api/graphql';
import { copyAs, type CopyAs } from '$lib/copy-as';
import { lengthOf, lengthText } from '$lib/length';
import { putDocument, triggerDocument } from './documents';

export type PutInput = VariablesOf<typeof putDocument>['input'];
export type Overlap = NonNullable<PutInput['overlap']>;
export type Misfire = NonNullable<PutInput['misfire']>;

export const NO_GRANT = 'Your token lacks the grant operate.';

/** What happens at a due time while a job of the schedule is not final. */
export const overlaps: Readonly<Record<Overlap, { readonly short: string; readonly about: string }>> = {
  SKIP: { short: 'skip', about: 'the due time is skipped' },
  QUEUE_ONE: {
    short: 'let one wait',
    about: 'one job waits for the end of the one that runs; while one waits, due times are skipped',
  },
  QUEUE_ALL: { short: 'let all wait', about: 'every due time makes a job; they run one after another' },
  CANCEL_RUNNING: {
    short: 'take its place',
    about: 'what runs is asked to stop, and the new job starts when the way is free',
  },
  ALLOW: { short: 'start beside it', about: 'a job is made all the same, and starts beside the others' },
};

/** What happens to due times that passed while nothing could run. */
export const misfires: Readonly<Record<Misfire, { readonly short: string; readonly about: string }>> = {
  RUN_ONCE: { short: 'run once', about: 'one job for all of them together' },
  SKIP: { short: 'leave them', about: 'no job for them' },
  RUN_ALL: { short: 'run each', about: 'a job for each of them, at most 100' },
};

export const copyTrigger = (name: string): CopyAs =>
  copyAs(['beadle', 'schedule', 'trigger', name], triggerDocument, { input: { ref: { name } } });

/** The command that makes a schedule as it is. */
export function copyPut(input: PutInput): CopyAs {
  return copyAs(putCommand(input), putDocument, { input });
}

const flagOf = (word: string) => word.toLowerCase().replaceAll('_', '-');

/** Only what differs from the defaults is written. */
export function putCommand(input: PutInput): string[] {
  const argv = [
    'beadle',
    'schedule',
    'put',
    input.name,
    '--task',
    'name' in input.task ? input.task.name : input.task.id,
  ];
  if ('every' in input.timing) argv.push('--every', shortLength(input.timing.every));
  else argv.push('--cron', input.timing.cron);
  if (input.timeZone && input.timeZone !== 'UTC') argv.push('--time-zone', input.timeZone);
  if (input.jitter && lengthOf(input.jitter) !== 0) argv.push('--jitter', shortLength(input.jitter));
  if (input.misfire && input.misfire !== 'RUN_ONCE') argv.push('--misfire', flagOf(input.misfire));
  if (input.misfireWindow && lengthOf(input.misfireWindow) !== lengthOf('1d')) {
    argv.push('--misfire-window', shortLength(input.misfireWindow));
  }
  if (input.overlap && input.overlap !== 'SKIP') argv.push('--overlap', flagOf(input.overlap));
  for (const [name, value] of Object.entries((input.parameters ?? {}) as Record<string, unknown>)) {
    argv.push('--param', `${name}=${parameterText(value)}`);
  }
  if (input.isPaused) argv.push('--paused');
  return argv;
}

function shortLength(text: string): string {
  const ms = lengthOf(text);
  return ms === null ? text : lengthText(ms);
}

/** A text is written bare unless the command would take it for JSON. */
function parameterText(value: unknown): string {
  if (typeof value !== 'string') return JSON.stringify(value);
  try {
    JSON.parse(value);
    return JSON.stringify(value);
  } catch {
    return value;
  }
}
