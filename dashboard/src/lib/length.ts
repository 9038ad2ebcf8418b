// Owns lengths of time as people type and read them: `90s`, `1m30s`, `PT1M30S`; `5 s`, `1 min 30 s`. Pure.
import { millisecondsOf } from './format';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const units: Readonly<Record<string, number>> = {
  ms: 1,
  s: SECOND,
  m: MINUTE,
  h: HOUR,
  d: DAY,
  w: 7 * DAY,
};

/** What is said of a text that is no length. */
export const NO_LENGTH = 'This is no length of time: write 90s, 1m30s, 2h or 1d.';

/** Milliseconds of a length in the daemon's short form or in ISO 8601; null for what is none. */
export function lengthOf(text: string): number | null {
  const clean = text.trim();
  if (/^P/i.test(clean)) return millisecondsOf(clean.toUpperCase());
  if (!/^(?:\d+(?:\.\d+)?(?:ms|[smhdw]))+$/.test(clean)) return null;
  let sum = 0;
  for (const [, number, unit] of clean.matchAll(/(\d+(?:\.\d+)?)(ms|[smhdw])/g)) {
    sum += Number(number) * (units[unit ?? ''] ?? 0);
  }
  return Math.round(sum);
}

const written = [
  [DAY, 'd'],
  [HOUR, 'h'],
  [MINUTE, 'm'],
  [SECOND, 's'],
  [1, 'ms'],
] as const;

/** The short form that the daemon reads: `1m30s`, exact. */
export function lengthText(ms: number): string {
  return parts(ms).join('') || '0s';
}

function parts(ms: number): string[] {
  const found: string[] = [];
  let rest = ms;
  for (const [size, unit] of written) {
    const whole = Math.floor(rest / size);
    rest -= whole * size;
    if (whole > 0) found.push(`${String(whole)}${unit}`);
  }
  return found;
}

const words: Readonly<Record<string, string>> = { m: 'min' };

/** In words with spaces, exact: `5 s`, `1 min 30 s`, `2 h`. */
export function lengthWords(ms: number): string {
  const each = parts(ms).map((part) =>
    part.replace(/^(\d+)(\D+)$/, (_, n: string, unit: string) => `${n} ${words[unit] ?? unit}`),
  );
  return each.join(' ') || '0 s';
}
