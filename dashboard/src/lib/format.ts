// Owns how times, lengths, sizes and counts are written. Pure.

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Milliseconds of an ISO 8601 length such as PT1M30.5S or P1DT2H; null for what is none. */
export function millisecondsOf(duration: string): number | null {
  const found = /^P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$/.exec(duration);
  if (!found || duration.length < 3) return null;
  const [, weeks, days, hours, minutes, seconds] = found.map((part) => Number(part ?? 0));
  return Math.round(
    (weeks ?? 0) * 7 * DAY +
      (days ?? 0) * DAY +
      (hours ?? 0) * HOUR +
      (minutes ?? 0) * MINUTE +
      (seconds ?? 0) * SECOND,
  );
}

/** `1m 32s`, `3h 5m`, `2d 4h`, `4.2s`, `350ms`: two units at most. */
export function duration(ms: number): string {
  const length = Math.max(0, ms);
  if (length < SECOND) return length === 0 ? '0s' : `${String(Math.max(1, Math.round(length)))}ms`;
  if (length < 10 * SECOND) return `${(Math.floor(length / 100) / 10).toString()}s`;
  return pair(length);
}

/** The same in whole seconds: for what runs, so that it does not flicker. */
export function wholeDuration(ms: number): string {
  return ms < SECOND ? '0s' : pair(ms);
}

function pair(ms: number): string {
  if (ms < MINUTE) return `${String(Math.floor(ms / SECOND))}s`;
  if (ms < HOUR) return two(ms, MINUTE, 'm', SECOND, 's');
  if (ms < DAY) return two(ms, HOUR, 'h', MINUTE, 'm');
  return two(ms, DAY, 'd', HOUR, 'h');
}

function two(ms: number, large: number, largeUnit: string, small: number, smallUnit: string): string {
  const rest = Math.floor((ms % large) / small);
  return `${String(Math.floor(ms / large))}${largeUnit}${rest === 0 ? '' : ` ${String(rest)}${smallUnit}`}`;
}

/** `2 min ago`, `in 4 min`, `just now`, `now`. */
export function relative(at: number, now: number): string {
  const away = at - now;
  const length = Math.abs(away);
  if (length <= SECOND) return 'now';
  if (length < 5 * SECOND) return away > 0 ? 'in a moment' : 'just now';
  const words = roughly(length);
  return away > 0 ? `in ${words}` : `${words} ago`;
}

/** `40 s`, `2 min`, `3 h`, `5 d`. */
function roughly(ms: number): string {
  if (ms < MINUTE) return `${String(Math.floor(ms / SECOND))} s`;
  if (ms < HOUR) return `${String(Math.floor(ms / MINUTE))} min`;
  if (ms < 2 * DAY) return `${String(Math.floor(ms / HOUR))} h`;
  return `${String(Math.floor(ms / DAY))} d`;
}

const absoluteFormat = new Intl.DateTimeFormat('en-GB', {
  year: 'numeric',
  month: 'short',
  day: '2-digit',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  timeZoneName: 'short',
});
const clockFormat = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const dayFormat = new Intl.DateTimeFormat('en-GB', { day: '2-digit', month: 'short' });

/** `26 Nov 2026, 03:12:09 CET`: with the reader's zone. */
export function absolute(at: number): string {
  return absoluteFormat.format(at);
}

/** `03:12:09`; with the day when it is another one than today. */
export function clockTime(at: number, now: number): string {
  const isToday = new Date(at).toDateString() === new Date(now).toDateString();
  return isToday ? clockFormat.format(at) : `${dayFormat.format(at)} ${clockFormat.format(at)}`;
}

/** `412 KB`, `1.4 GB`: powers of 1,000, three digits. */
export function bytes(count: number): string {
  if (count < 1_000) return `${String(count)} B`;
  const units = ['KB', 'MB', 'GB', 'TB'];
  let value = count;
  let unit = '';
  for (unit of units) {
    value /= 1_000;
    if (value < 999.5) break;
  }
  return `${value < 9.95 ? value.toFixed(1) : value.toFixed(0)} ${unit}`;
}

const countFormat = new Intl.NumberFormat('en');
/** `3,412`. */
export function count(value: number): string {
  return countFormat.format(value);
}

/** `1 job`, `3 jobs`; with `plural` where an s is not enough. */
export function counted(value: number, noun: string, plural = `${noun}s`): string {
  return `${count(value)} ${value === 1 ? noun : plural}`;
}

const listFormat = new Intl.ListFormat('en');
/** `a`, `a and b`, `a, b, and c`. */
export function list(names: readonly string[]): string {
  return listFormat.format(names);
}

/** An argument as a POSIX shell reads it. */
export function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

interface CommandLike {
  readonly argv: readonly string[];
  readonly script: string | null;
  readonly handler: string | null;
}

/** What a command runs, in one line. */
export function commandLine(command: CommandLike): string {
  if (command.handler !== null) return `handler ${command.handler}`;
  if (command.script !== null) return command.script.trim().split('\n')[0] ?? '';
  return command.argv.map(shellWord).join(' ');
}
