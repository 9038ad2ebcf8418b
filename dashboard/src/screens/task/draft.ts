// Owns what somebody types into the editor of a task, how it begins from a revision, and the input that it becomes.
// Nothing of a revision may be lost on the way: what is put replaces the whole task. Pure.
import type { AttemptOutcome, VariablesOf } from '$lib/api/graphql';
import { commandLine } from '$lib/format';
import { labelWords } from '$lib/jobs/words';
import { isoOf, LENGTH_HINT, typedLength } from '$lib/length';
import { readJson } from '$lib/parameters/drafts';
import { splitWords } from '$lib/shell-words';
import type { FieldErrors } from '$lib/submission.svelte';
import type { putDocument, Revision } from './documents';

export type TaskPutInput = VariablesOf<typeof putDocument>['input'];

export interface VariableDraft {
  name: string;
  value: string;
  isSecret: boolean;
  /** A secret of the daemon: its value was never told, so it must be typed again. */
  isUnknown: boolean;
}

export interface TaskDraft {
  name: string;
  description: string;
  kind: 'exec' | 'script' | 'handler';
  line: string;
  script: string;
  shell: string;
  handler: string;
  workingDirectory: string;
  environment: VariableDraft[];
  inheritEnvironment: string;
  queue: string;
  priority: string;
  concurrencyLimit: string;
  runsOn: string;
  timeout: string;
  idleTimeout: string;
  maxTimeout: string;
  killGrace: string;
  isRestartable: boolean;
  mergeOutput: boolean;
  maxAttempts: string;
  initialDelay: string;
  maxDelay: string;
  factor: string;
  retryOn: AttemptOutcome[];
  exitCodes: string;
  signals: string;
  /** Which of these lists the task has and leaves empty, so that none of it is tried again: no list is any. */
  empty: { retryOn: boolean; exitCodes: boolean; signals: boolean };
  retriesTemporaryFailure: boolean;
  parametersSchema: string;
}

/** The outcomes after which another try can be wanted. */
export const RETRIED = [
  'EXITED',
  'SIGNALED',
  'TIMED_OUT',
  'OUT_OF_MEMORY',
  'SPAWN_FAILED',
  'PANICKED',
  'LOST',
] as const satisfies readonly AttemptOutcome[];

/** The draft of a new task, with what holds when nothing is said. */
export function emptyDraft(): TaskDraft {
  return {
    name: '',
    description: '',
    kind: 'exec',
    line: '',
    script: '',
    shell: '/bin/sh',
    handler: '',
    workingDirectory: '',
    environment: [],
    inheritEnvironment: '',
    queue: 'default',
    priority: '0',
    concurrencyLimit: '',
    runsOn: '',
    timeout: '',
    idleTimeout: '',
    maxTimeout: '',
    killGrace: '10s',
    isRestartable: true,
    mergeOutput: false,
    maxAttempts: '1',
    initialDelay: '5s',
    maxDelay: '10m',
    factor: '2',
    retryOn: [],
    exitCodes: '',
    signals: '',
    empty: { retryOn: false, exitCodes: false, signals: false },
    retriesTemporaryFailure: false,
    parametersSchema: '',
  };
}

/** The draft that says what a revision says. */
export function draftOf(name: string, revision: Revision): TaskDraft {
  const { command, retryPolicy } = revision;
  const kind = command.handler !== null ? 'handler' : command.script !== null ? 'script' : 'exec';
  return {
    name,
    description: revision.description ?? '',
    kind,
    line: kind === 'exec' ? commandLine(command) : '',
    script: command.script ?? '',
    shell: command.shell ?? '/bin/sh',
    handler: command.handler ?? '',
    workingDirectory: command.workingDirectory ?? '',
    environment: command.environment.map((variable) => ({
      name: variable.name,
      value: variable.value ?? '',
      isSecret: variable.isSecret,
      isUnknown: variable.isSecret,
    })),
    inheritEnvironment: command.inheritEnvironment.join(' '),
    queue: revision.queue.name,
    priority: String(revision.priority),
    concurrencyLimit: revision.concurrencyLimit === null ? '' : String(revision.concurrencyLimit),
    runsOn: labelWords(revision.runsOn),
    timeout: typedLength(revision.timeout),
    idleTimeout: typedLength(revision.idleTimeout),
    maxTimeout: typedLength(revision.maxTimeout),
    killGrace: typedLength(revision.killGrace),
    isRestartable: revision.isRestartable,
    mergeOutput: revision.mergeOutput,
    maxAttempts: String(retryPolicy.maxAttempts),
    initialDelay: typedLength(retryPolicy.initialDelay),
    maxDelay: typedLength(retryPolicy.maxDelay),
    factor: String(retryPolicy.factor),
    retryOn: [...(retryPolicy.retryOn ?? [])],
    exitCodes: (retryPolicy.exitCodes ?? []).join(' '),
    signals: (retryPolicy.signals ?? []).join(' '),
    empty: {
      retryOn: retryPolicy.retryOn?.length === 0,
      exitCodes: retryPolicy.exitCodes?.length === 0,
      signals: retryPolicy.signals?.length === 0,
    },
    retriesTemporaryFailure: retryPolicy.retriesTemporaryFailure,
    parametersSchema:
      (revision.parametersSchema ?? null) === null ? '' : JSON.stringify(revision.parametersSchema, null, 2),
  };
}

/** Reads fields and keeps what is wrong with them, by the path that the daemon would name. */
class Reader {
  readonly errors: Record<string, string> = {};

  length(path: string, typed: string): string | null {
    if (typed.trim() === '') return null;
    const iso = isoOf(typed);
    if (iso === null) this.errors[path] = `This is not a length of time. ${LENGTH_HINT}`;
    return iso;
  }

  number(path: string, typed: string, isWhole = true): number | null {
    const text = typed.trim();
    if (text === '') return null;
    const value = Number(text);
    const isGood = isWhole ? Number.isInteger(value) && Math.abs(value) < 2 ** 31 : Number.isFinite(value);
    if (!isGood) this.errors[path] = isWhole ? 'This is not a whole number.' : 'This is not a number.';
    return isGood ? value : null;
  }

  numbers(path: string, typed: string): number[] | null {
    const values = words(typed).map((word) => this.number(path, word) ?? 0);
    return values.length === 0 ? null : values;
  }

  labels(path: string, typed: string): { key: string; value: string }[] {
    return words(typed).map((word) => {
      const [key = '', ...value] = word.split('=');
      if (key === '' || value.length !== 1 || value[0] === '') this.errors[path] = 'Write labels as key=value.';
      return { key, value: value.join('=') };
    });
  }

  json(path: string, typed: string): unknown {
    if (typed.trim() === '') return null;
    const read = readJson(typed);
    if ('error' in read) this.errors[path] = read.error;
    return 'error' in read ? null : read.value;
  }
}

const words = (typed: string): string[] => typed.split(/[\s,]+/).filter(Boolean);

/** The input of a draft, and what the page itself finds wrong with it. */
export function inputOf(draft: TaskDraft, expectedRevision: number): { input: TaskPutInput; errors: FieldErrors } {
  const reader = new Reader();
  if (draft.name.trim() === '') reader.errors['name'] = 'A task needs a name.';
  const signals = words(draft.signals);
  const input: TaskPutInput = {
    name: draft.name.trim(),
    expectedRevision,
    description: draft.description.trim() || null,
    command: commandOf(draft, reader),
    queue: draft.queue.trim() || 'default',
    priority: reader.number('priority', draft.priority) ?? 0,
    concurrencyLimit: reader.number('concurrencyLimit', draft.concurrencyLimit),
    runsOn: reader.labels('runsOn', draft.runsOn),
    timeout: reader.length('timeout', draft.timeout),
    idleTimeout: reader.length('idleTimeout', draft.idleTimeout),
    maxTimeout: reader.length('maxTimeout', draft.maxTimeout),
    killGrace: reader.length('killGrace', draft.killGrace) ?? 'PT10S',
    isRestartable: draft.isRestartable,
    mergeOutput: draft.mergeOutput,
    retryPolicy: {
      maxAttempts: reader.number('retryPolicy.maxAttempts', draft.maxAttempts) ?? 1,
      initialDelay: reader.length('retryPolicy.initialDelay', draft.initialDelay) ?? 'PT5S',
      maxDelay: reader.length('retryPolicy.maxDelay', draft.maxDelay) ?? 'PT600S',
      factor: reader.number('retryPolicy.factor', draft.factor, false) ?? 2,
      retryOn: draft.retryOn.length === 0 && !draft.empty.retryOn ? null : draft.retryOn,
      exitCodes: reader.numbers('retryPolicy.exitCodes', draft.exitCodes) ?? (draft.empty.exitCodes ? [] : null),
      signals: signals.length === 0 && !draft.empty.signals ? null : signals,
      retriesTemporaryFailure: draft.retriesTemporaryFailure,
    },
    parametersSchema: reader.json('parametersSchema', draft.parametersSchema),
  };
  return { input, errors: reader.errors };
}

function commandOf(draft: TaskDraft, reader: Reader): TaskPutInput['command'] {
  if (draft.kind === 'handler') {
    if (draft.handler === '') reader.errors['command.handler'] = 'Choose a handler.';
    return { handler: draft.handler };
  }
  draft.environment.forEach((variable, index) => {
    if (variable.isUnknown && variable.value === '') {
      reader.errors[`command.${draft.kind}.environment.${String(index)}.value`] =
        'The value of a secret is never shown: type it again, or take the variable out.';
    }
  });
  const surroundings = {
    workingDirectory: draft.workingDirectory.trim() || null,
    environment: draft.environment
      .filter((variable) => variable.name !== '' || variable.value !== '')
      .map(({ name, value, isSecret }) => ({ name, value, isSecret })),
    inheritEnvironment: words(draft.inheritEnvironment),
  };
  if (draft.kind === 'script') {
    if (draft.script.trim() === '') reader.errors['command.script.text'] = 'Write the script.';
    return { script: { text: draft.script, shell: draft.shell.trim() || '/bin/sh', ...surroundings } };
  }
  const split = splitWords(draft.line);
  if (split.error !== null) reader.errors['command.exec.argv'] = split.error;
  else if (split.words.length === 0) reader.errors['command.exec.argv'] = 'Write the program and its arguments.';
  return { exec: { argv: split.words ?? [], ...surroundings } };
}
