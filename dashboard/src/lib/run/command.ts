// Owns how what somebody types becomes a command: a line into arguments by the rules of a shell's quotes, and what of
// it only a shell would understand. Pure.

export interface Line {
  readonly argv: readonly string[];
  /** A quote that is not closed. */
  readonly isOpen: boolean;
  /** Signs that only a shell reads, such as `|`; they are given to the program as they are. */
  readonly shellSigns: readonly string[];
}

const SHELL_SIGN = /&&|\|\||[|&;<>]|\$\w|\$\(|\$\{|`|\*|~\//;

/** Splits a line as a POSIX shell would, without expanding anything. */
export function splitLine(line: string): Line {
  const argv: string[] = [];
  const shellSigns = new Set<string>();
  let word: string | null = null;
  let bare = '';
  let quote: '"' | "'" | null = null;
  const end = () => {
    if (word !== null) argv.push(word);
    const sign = SHELL_SIGN.exec(bare)?.[0];
    if (sign !== undefined) shellSigns.add(sign);
    word = null;
    bare = '';
  };
  for (let at = 0; at < line.length; at += 1) {
    const sign = line[at] ?? '';
    const next = line[at + 1];
    if (quote === "'") {
      if (sign === quote) quote = null;
      else word = (word ?? '') + sign;
    } else if (sign === '\\' && next !== undefined && (quote === null || '"\\$`'.includes(next))) {
      // A backslash before the end of a line joins the two lines.
      if (next !== '\n') word = (word ?? '') + next;
      at += 1;
    } else if (sign === quote) quote = null;
    else if (quote === null && (sign === '"' || sign === "'")) {
      quote = sign;
      word ??= '';
    } else if (quote === null && /\s/.test(sign)) end();
    else {
      word = (word ?? '') + sign;
      if (quote === null) bare += sign;
    }
  }
  end();
  return { argv, isOpen: quote !== null, shellSigns: [...shellSigns] };
}

export interface Variable {
  name: string;
  value: string;
  isSecret: boolean;
}

/** Everything that the dialog asks. */
export interface Draft {
  kind: 'program' | 'script';
  line: string;
  script: string;
  shell: string;
  directory: string;
  environment: Variable[];
  queue: string;
  priority: string;
  delay: string;
  timeout: string;
  retries: string;
  labels: string;
  isHeld: boolean;
}

export const newDraft = (): Draft => ({
  kind: 'program',
  line: '',
  script: '',
  shell: '/bin/sh',
  directory: '',
  environment: [],
  queue: '',
  priority: '',
  delay: '',
  timeout: '',
  retries: '',
  labels: '',
  isHeld: false,
});

/** Why it cannot be sent yet; null when it can. */
export function missing(draft: Draft): string | null {
  if (draft.kind === 'script') return draft.script.trim() === '' ? 'The script is empty.' : null;
  const { argv, isOpen } = splitLine(draft.line);
  if (isOpen) return 'A quote is not closed.';
  return argv.length === 0 ? 'The command is empty.' : null;
}

/** `team=web, tier=1` into labels. */
export function labelsOf(written: string): { key: string; value: string }[] {
  const words = written.split(',').map((word) => word.trim());
  return words.filter(Boolean).map((word) => {
    const at = word.indexOf('=');
    return at < 0 ? { key: word, value: '' } : { key: word.slice(0, at).trim(), value: word.slice(at + 1).trim() };
  });
}

const whole = (field: string): number | null => (/^-?\d+$/.test(field.trim()) ? Number(field) : null);

/** The variables that somebody has filled in; one with a value but without a name is for the daemon to refuse. */
const filledIn = (draft: Draft): Variable[] =>
  draft.environment.filter(({ name, value }) => name !== '' || value !== '');

/** What the daemon is asked. */
export function inputOf(draft: Draft, idempotencyKey: string) {
  const common = {
    workingDirectory: draft.directory.trim() || null,
    environment: filledIn(draft).map((variable) => ({ ...variable })),
  };
  const command =
    draft.kind === 'program'
      ? { exec: { argv: [...splitLine(draft.line).argv], ...common } }
      : { script: { text: draft.script, shell: draft.shell.trim() || '/bin/sh', ...common } };
  const [retries, labels] = [whole(draft.retries), labelsOf(draft.labels)];
  return {
    run: { command },
    queue: draft.queue || null,
    priority: whole(draft.priority),
    delay: draft.delay.trim() || null,
    timeout: draft.timeout.trim() || null,
    retryPolicy: retries === null || retries < 1 ? null : { maxAttempts: retries + 1 },
    labels: labels.length === 0 ? null : labels,
    isHeld: draft.isHeld,
    idempotencyKey,
  };
}

/** The same by the CLI. The value of a secret is left out. */
export function cliOf(draft: Draft): string[] {
  const option = (flag: string, value: string) => (value.trim() === '' ? [] : [flag, value.trim()]);
  const argv =
    draft.kind === 'program' ? splitLine(draft.line).argv : [draft.shell.trim() || '/bin/sh', '-c', draft.script];
  return [
    'beadle',
    'run',
    ...option('--dir', draft.directory),
    ...filledIn(draft).flatMap(({ name, value, isSecret }) => ['--env', `${name}=${isSecret ? '…' : value}`]),
    ...option('--queue', draft.queue),
    ...option('--priority', draft.priority),
    ...option('--in', draft.delay),
    ...option('--timeout', draft.timeout),
    ...option('--retries', draft.retries),
    ...labelsOf(draft.labels).flatMap(({ key, value }) => ['--label', `${key}=${value}`]),
    ...(draft.isHeld ? ['--hold'] : []),
    '--',
    ...argv,
  ];
}
