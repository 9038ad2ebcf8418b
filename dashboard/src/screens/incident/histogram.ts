// Owns how the counts of an incident become the bars of a strip: equal parts of the time up to now.
import { clockTime } from '$lib/format';
import { countMark, type Mark } from '$lib/ui/strip';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

const dayTimeFormat = new Intl.DateTimeFormat('en-GB', {
  day: '2-digit',
  month: 'short',
  hour: '2-digit',
  minute: '2-digit',
});

/** Bars of `counts`, the oldest first, that are `window` ms together and end with the minute that runs at `now`. */
export function bars(counts: readonly number[], window: number, now: number): Mark[] {
  const end = Math.floor(now / MINUTE) * MINUTE + MINUTE;
  const length = window / counts.length;
  return counts.map((count, index) => {
    const from = end - (counts.length - index) * length;
    return countMark(String(index), count, spell(from, from + length, now));
  });
}

/** Parts of a day by their hours, longer ones with the day on which they begin and end. */
function spell(from: number, to: number, now: number): string {
  if (to - from >= DAY) return `${dayTimeFormat.format(from)} to ${dayTimeFormat.format(to)}`;
  const minutes = (at: number) => clockTime(at, now).replace(/:\d\d$/, '');
  return `${minutes(from)} to ${minutes(to)}`;
}
