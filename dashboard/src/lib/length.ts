// Owns lengths of time as people type and read them: `1m 30s`, `PT1M30S`; in words `5 s`, `1 min 30 s`. Pure.
import { duration, millisecondsOf } from './format';

const UNITS = { w: 604_800_000, d: 86_400_000, h: 3_600_000, m: 60_000, s: 1_000, ms: 1 } as const;
const SHORT =
  /^(?:\d+(?:\.\d+)?w)?(?:\d+(?:\.\d+)?d)?(?:\d+(?:\.\d+)?h)?(?:\d+(?:\.\d+)?m(?!s))?(?:\d+(?:\.\d+)?s)?(?:\d+(?:\.\d+)?ms)?$/;

/** Milliseconds of what was typed; null for what is no length of time. */
export function lengthOf(typed: string): number | null {
  const text = typed.trim();
  if (/^p/i.test(text)) return millisecondsOf(text.toUpperCase());
  const short = text.toLowerCase().replace(/\s+/g, '');
  if (short === '' || !SHORT.test(short)) return null;
  let total = 0;
  for (const [, number, unit] of short.matchAll(/([\d.]+)(ms|[wdhms])/g)) {
    total += Number(number) * UNITS[unit as keyof typeof UNITS];
  }
  return Math.round(total);
}

/** The same for the API, as ISO 8601; null for what is no length of time. */
export function isoOf(typed: string): string | null {
  const ms = lengthOf(typed);
  return ms === null ? null : `PT${String(ms / 1_000)}S`;
}

/** A length of the API as one types it; exact, where `duration` of `format.ts` keeps two units. */
export function typedLength(iso: string | null): string {
  const ms = iso === null ? null : millisecondsOf(iso);
  if (ms === null) return '';
  if (lengthOf(duration(ms)) === ms) return duration(ms);
  return parts(ms).join(' ') || '0s';
}

export const LENGTH_HINT = 'Write 90s, 1m 30s, 2h or 1d.';

/** What is said of a text that is no length. */
export const NO_LENGTH = 'This is no length of time: write 90s, 1m30s, 2h or 1d.';

/** The short form that the daemon reads: `1m30s`, exact. */
export function lengthText(ms: number): string {
  return parts(ms).join('') || '0s';
}

/** In words with spaces, exact: `5 s`, `1 min 30 s`, `2 h`. */
export function lengthWords(ms: number): string {
  const word = (part: string) =>
    part.replace(/^(\d+)(\D+)$/, (_, n: string, unit: string) => `${n} ${unit === 'm' ? 'min' : unit}`);
  return parts(ms).map(word).join(' ') || '0 s';
}

/** Days, hours and so on down to milliseconds. */
function parts(ms: number): string[] {
  let rest = ms;
  return Object.entries(UNITS).flatMap(([unit, size]) => {
    const whole = unit === 'w' ? 0 : Math.floor(rest / size);
    rest -= whole * size;
    return whole === 0 ? [] : [`${String(whole)}${unit}`];
  });
}
