// Owns a revision as text: the lines of a file that `beadle apply` takes (YAML). Two of them are compared by `diff.ts`.
// Pure.
import { typedLength } from '$lib/length';
import type { Revision } from './documents';

/** The revision under the task's name, as a file for `beadle apply`. */
export function fileOf(name: string, revision: Revision): string {
  const lines = linesOf(revision).map((line) => (line === '' ? '' : `    ${line}`));
  return ['tasks:', `  ${key(name)}:`, ...lines].join('\n') + '\n';
}

/** What the revision says, one key a line; what is as by default is left out. */
export function linesOf(revision: Revision): string[] {
  const { command } = revision;
  return [
    ...(revision.description === null ? [] : pair('description', revision.description)),
    ...commandLines(command),
    ...(revision.queue.name === 'default' ? [] : pair('queue', revision.queue.name)),
    ...(revision.priority === 0 ? [] : [`priority: ${String(revision.priority)}`]),
    ...(revision.concurrencyLimit === null ? [] : [`concurrency_limit: ${String(revision.concurrencyLimit)}`]),
    ...length('timeout', revision.timeout),
    ...length('max_timeout', revision.maxTimeout),
    ...length('idle_timeout', revision.idleTimeout),
    ...length('kill_grace', revision.killGrace, '10s'),
    ...retryLines(revision.retryPolicy),
    ...(revision.isRestartable ? [] : ['is_restartable: false']),
    ...(revision.mergeOutput ? ['merge_output: true'] : []),
    ...(revision.runsOn.length === 0
      ? []
      : ['runs_on:', ...revision.runsOn.map((label) => `  ${key(label.key)}: ${scalar(label.value)}`)]),
    ...schemaLines(revision.parametersSchema),
  ];
}

function commandLines(command: Revision['command']): string[] {
  const open = command.environment.filter((variable) => !variable.isSecret);
  const secrets = command.environment.filter((variable) => variable.isSecret);
  return [
    ...(command.handler === null ? [] : pair('handler', command.handler)),
    ...(command.script === null ? [] : pair('script', command.script)),
    ...(command.handler === null && command.script === null
      ? ['command:', ...command.argv.map((word) => `  - ${scalar(word)}`)]
      : []),
    ...(command.script === null || command.shell === null || command.shell === '/bin/sh'
      ? []
      : pair('shell', command.shell)),
    ...(command.workingDirectory === null ? [] : pair('working_directory', command.workingDirectory)),
    ...(open.length === 0
      ? []
      : ['environment:', ...open.map(({ name, value }) => `  ${key(name)}: ${scalar(value ?? '')}`)]),
    ...(secrets.length === 0 ? [] : ['environment_from:', ...secrets.map(({ name }) => `  - ${scalar(name)}`)]),
    ...(command.inheritEnvironment.length === 0
      ? []
      : ['inherit_environment:', ...command.inheritEnvironment.map((name) => `  - ${scalar(name)}`)]),
  ];
}

function retryLines(policy: Revision['retryPolicy']): string[] {
  const lines = [
    ...(policy.maxAttempts === 1 ? [] : [`max_attempts: ${String(policy.maxAttempts)}`]),
    ...length('initial_delay', policy.initialDelay, '5s'),
    ...length('max_delay', policy.maxDelay, '10m'),
    ...(policy.factor === 2
      ? []
      : [`factor: ${Number.isInteger(policy.factor) ? policy.factor.toFixed(1) : String(policy.factor)}`]),
    ...(policy.retryOn === null ? [] : [`retry_on: [${policy.retryOn.join(', ')}]`]),
    ...(policy.exitCodes === null ? [] : [`exit_codes: [${policy.exitCodes.join(', ')}]`]),
    ...(policy.signals === null ? [] : [`signals: [${policy.signals.join(', ')}]`]),
    ...(policy.retriesTemporaryFailure ? ['retries_temporary_failure: true'] : []),
  ];
  return lines.length === 0 ? [] : ['retry:', ...lines.map((line) => `  ${line}`)];
}

/** JSON is YAML, as long as it stands further in than its key. */
function schemaLines(schema: unknown): string[] {
  if (schema === null || schema === undefined) return [];
  const [first, ...rest] = JSON.stringify(schema, null, 2).split('\n');
  return [`parameters_schema: ${first ?? ''}`, ...rest.map((line) => `  ${line}`)];
}

function length(name: string, iso: string | null, usual = ''): string[] {
  const typed = typedLength(iso);
  return typed === usual ? [] : [`${name}: ${typed.replaceAll(' ', '')}`];
}

function pair(name: string, text: string): string[] {
  if (!isBlock(text)) return [`${name}: ${scalar(text)}`];
  const ends = /\n*$/.exec(text)?.[0].length ?? 0;
  const body = ends === 1 ? text.slice(0, -1) : text;
  const sign = ends === 0 ? '|-' : ends === 1 ? '|' : '|+';
  const lines = (ends > 1 ? text.slice(0, -1) : body).split('\n');
  return [`${name}: ${sign}`, ...lines.map((line) => (line === '' ? '' : `  ${line}`))];
}

/** Whether a text can stand as it is, line by line. */
function isBlock(text: string): boolean {
  const others = text.replace(/[\n\t]/g, '');
  return text.includes('\n') && !/^\s/.test(text) && !/[\p{Cc}\u2028\u2029\ufeff]/u.test(others);
}

/** A text on one line: JSON's quotes are YAML's, and a plain word needs none. */
function scalar(text: string): string {
  const isPlain = /^[A-Za-z/][\w ./@%+-]*[\w./]$/.test(text) && !/^(true|false|yes|no|on|off|null|y|n)$/i.test(text);
  return isPlain ? text : JSON.stringify(text);
}

const key = (name: string) =>
  /^[A-Za-z_][\w.-]*$/.test(name) && !/^(true|false|yes|no|on|off|null|y|n)$/i.test(name) ? name : JSON.stringify(name);
