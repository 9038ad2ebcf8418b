// Owns how the rule of a schedule is said: "every 5 s", "06:00 on weekdays, Europe/Berlin". Pure.
import { cronWords } from './cron';
import { millisecondsOf } from './format';
import { lengthWords } from './length';

/** A rule as the daemon gives it. */
export type TimingLike =
  | { readonly __typename: 'IntervalTiming'; readonly every: string }
  | { readonly __typename: 'CronTiming'; readonly cron: string };

const ones: Readonly<Record<string, string>> = {
  '1 s': 'second',
  '1 min': 'minute',
  '1 h': 'hour',
  '1 d': 'day',
};

/** A rule in words, with its zone where that matters; a pattern without plain words as its fields. */
export function timingWords(timing: TimingLike, timeZone: string): string {
  if (timing.__typename === 'IntervalTiming') {
    const ms = millisecondsOf(timing.every);
    const words = ms === null ? timing.every : lengthWords(ms);
    return `every ${ones[words] ?? words}`;
  }
  const words = cronWords(timing.cron);
  if (words === null) return `${timing.cron}, ${timeZone}`;
  return words.isZoned ? `${words.text}, ${timeZone}` : words.text;
}

/** `2026-11-27T02:30:00+01:00[Europe/Berlin]` as `Fri 27 Nov 2026, 02:30 +01:00`; seconds when there are any. */
export function localWords(local: string): string {
  const found = /^(\d{4})-(\d\d)-(\d\d)T(\d\d:\d\d):(\d\d(?:\.\d+)?)([+-]\d\d:\d\d(?::\d\d)?)\[(.+)\]$/.exec(local);
  if (!found) return local;
  const [, year, month, date, minute = '', second = '', offset = '', zone] = found;
  const day = dayFormat.format(Date.UTC(Number(year), Number(month) - 1, Number(date)));
  const seconds = Number(second) === 0 ? '' : `:${second.replace(/\.0+$/, '')}`;
  return `${day.replace(',', '')}, ${minute}${seconds} ${zone === 'UTC' ? zone : offset}`;
}

const dayFormat = new Intl.DateTimeFormat('en-GB', {
  weekday: 'short',
  day: 'numeric',
  month: 'short',
  year: 'numeric',
  timeZone: 'UTC',
});
