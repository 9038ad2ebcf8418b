// Owns the words for a cron pattern: "06:00 on weekdays". Only forms that can be said in one plain sentence; for all
// others it says nothing and the fields themselves are shown. It never reckons due times: the daemon does.
import { list } from './format';

interface Field {
  readonly least: number;
  readonly most: number;
  readonly names: readonly string[];
}

const MONTHS = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
];
const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
const short = (names: readonly string[]) => names.map((name) => name.slice(0, 3).toUpperCase());

const SIXTY: Field = { least: 0, most: 59, names: [] };
const HOUR: Field = { least: 0, most: 23, names: [] };
const DATE: Field = { least: 1, most: 31, names: [] };
const MONTH: Field = { least: 1, most: 12, names: ['', ...short(MONTHS)] };
const WEEKDAY: Field = { least: 0, most: 7, names: short(DAYS) };

const shorthands: Readonly<Record<string, string>> = {
  '@hourly': '0 * * * *',
  '@daily': '0 0 * * *',
  '@midnight': '0 0 * * *',
  '@weekly': '0 0 * * 0',
  '@monthly': '0 0 1 * *',
  '@yearly': '0 0 1 1 *',
  '@annually': '0 0 1 1 *',
};

/** More times of a day than this are not read in one look. */
const TIMES_MAX = 4;

interface Values {
  /** Every value of the field. */
  readonly isAll: boolean;
  /** `*` with a step that divides the field evenly: a rhythm. */
  readonly step: number | null;
  /** Ascending. */
  readonly values: readonly number[];
  /** One run without a gap, and longer than one. */
  readonly isRun: boolean;
}

export interface CronWords {
  readonly text: string;
  /** Whether the zone changes when it is due. */
  readonly isZoned: boolean;
}

/** A pattern in words; null for what has no plain ones. */
export function cronWords(pattern: string): CronWords | null {
  const clean = pattern.trim();
  const fields = (shorthands[clean.toLowerCase()] ?? clean).toUpperCase().split(/\s+/);
  if (fields.length !== 5 && fields.length !== 6) return null;
  const [second = '', minute = '', hour = '', date = '', month = '', weekday = ''] =
    fields.length === 6 ? fields : ['0', ...fields];
  const time = timeWords(read(second, SIXTY), read(minute, SIXTY), read(hour, HOUR));
  const day = dayWords(date, month, weekday);
  if (time === null || day === null) return null;
  if (day === '') return { text: time.isRhythm ? time.text : `${time.text} every day`, isZoned: !time.isElapsed };
  return { text: `${time.text} ${day}`, isZoned: true };
}

/** The values of a field made of numbers, names, ranges and steps; null for anything else. */
function read(text: string, field: Field): Values | null {
  const values = new Set<number>();
  for (const part of text.split(',')) {
    const found = /^(\*|\?|\w+)(?:-(\w+))?(?:\/(\d+))?$/.exec(part);
    if (!found) return null;
    const [, from = '', to, by] = found;
    const isAny = from === '*' || from === '?';
    const first = isAny ? field.least : valueOf(from, field);
    const last = isAny || (to === undefined && by !== undefined) ? field.most : valueOf(to ?? from, field);
    const step = by === undefined ? 1 : Number(by);
    if (first === null || last === null || first > last || step < 1 || (isAny && to !== undefined)) return null;
    for (let value = first; value <= last; value += step) values.add(value);
  }
  const sorted = [...values].sort((left, right) => left - right);
  const size = field.most - field.least + 1;
  const step = /^\*\/(\d+)$/.exec(text)?.[1];
  const isEven = step !== undefined && size % Number(step) === 0;
  const isRun = sorted.length > 1 && (sorted.at(-1) ?? 0) - (sorted[0] ?? 0) === sorted.length - 1;
  return { isAll: sorted.length === size, step: isEven ? Number(step) : null, values: sorted, isRun };
}

function valueOf(text: string, field: Field): number | null {
  const named = field.names.indexOf(text);
  const value = named > -1 ? named : /^\d+$/.test(text) ? Number(text) : NaN;
  return value >= field.least && value <= field.most ? value : null;
}

interface TimeWords {
  readonly text: string;
  /** It goes on through the day; a fixed time of day does not. */
  readonly isRhythm: boolean;
  /** The same in every zone with a whole-hour offset. */
  readonly isElapsed: boolean;
}

const two = (value: number) => String(value).padStart(2, '0');
const every = (count: number, unit: string, one: string) =>
  count === 1 ? `every ${one}` : `every ${String(count)} ${unit}`;

function timeWords(second: Values | null, minute: Values | null, hour: Values | null): TimeWords | null {
  if (!second || !minute || !hour) return null;
  const isWholeMinute = second.values.length === 1 && second.values[0] === 0;
  if (!isWholeMinute) {
    const step = second.isAll ? 1 : second.step;
    if (step !== null && minute.isAll && hour.isAll) {
      return { text: every(step, 's', 'second'), isRhythm: true, isElapsed: true };
    }
  } else {
    const rhythm = rhythmWords(minute, hour);
    if (rhythm) return rhythm;
  }
  const times = hour.values.flatMap((h) =>
    minute.values.flatMap((m) => second.values.map((s) => `${two(h)}:${two(m)}${isWholeMinute ? '' : `:${two(s)}`}`)),
  );
  return times.length > TIMES_MAX ? null : { text: list(times), isRhythm: false, isElapsed: false };
}

/** Whole minutes that come again and again. */
function rhythmWords(minute: Values, hour: Values): TimeWords | null {
  const [first = 0] = minute.values;
  const step = minute.isAll ? 1 : minute.step;
  if (hour.isAll) {
    if (step !== null) return { text: every(step, 'min', 'minute'), isRhythm: true, isElapsed: true };
    if (minute.values.length > TIMES_MAX) return null;
    const at = list(minute.values.map((value) => `:${two(value)}`));
    const text = minute.values.length === 1 && first === 0 ? 'every hour' : `every hour at ${at}`;
    return { text, isRhythm: true, isElapsed: true };
  }
  if (hour.step !== null && minute.values.length === 1) {
    const at = first === 0 ? '' : ` at :${two(first)}`;
    return { text: `${every(hour.step, 'h', 'hour')}${at}`, isRhythm: true, isElapsed: false };
  }
  if (!hour.isRun || (step === null && minute.values.length > 1)) return null;
  const [from, to] = [
    `${two(hour.values[0] ?? 0)}:${two(first)}`,
    `${two(hour.values.at(-1) ?? 0)}:${two(minute.values.at(-1) ?? 0)}`,
  ];
  const pace = step === null ? 'every hour' : every(step, 'min', 'minute');
  return { text: `${pace} from ${from} to ${to}`, isRhythm: true, isElapsed: false };
}

/** Empty for every day; null for what has no plain words. */
function dayWords(date: string, month: string, weekday: string): string | null {
  const months = read(month, MONTH);
  const dates = isAny(date) ? '' : dateWords(date);
  const weekdays = isAny(weekday) ? '' : weekdayWords(weekday);
  if (!months || dates === null || weekdays === null) return null;
  const names = list(months.values.map((value) => MONTHS[value - 1] ?? ''));
  const inMonths = months.isAll ? '' : names;
  // A pattern with both fires when either matches.
  const isMonthly = /\bthe (?:first|second|third|fourth|fifth|last)\b/.test(weekdays) || dates !== '';
  const days = [weekdays, dates].filter(Boolean).join(' and ');
  if (days === '') return inMonths === '' ? '' : `every day in ${inMonths}`;
  const single = /^on the (\d+)(?:st|nd|rd|th)$/.exec(days);
  if (single && months.values.length === 1) return `on ${single[1] ?? ''} ${names}`;
  if (inMonths !== '') return `${days}${isMonthly ? ' of' : ' in'} ${inMonths}`;
  return isMonthly ? `${days} of each month` : days;
}

const isAny = (text: string) => text === '*' || text === '?';

function dateWords(text: string): string | null {
  if (text === 'L') return 'on the last day';
  const dates = read(text, DATE);
  if (!dates || dates.isAll || dates.step !== null) return null;
  const { values } = dates;
  if (dates.isRun && values.length > 2) return `from the ${nth(values[0] ?? 1)} to the ${nth(values.at(-1) ?? 1)}`;
  return values.length > TIMES_MAX ? null : `on the ${list(values.map(nth))}`;
}

function nth(value: number): string {
  const teen = value % 100 > 10 && value % 100 < 14;
  const end = teen ? 'th' : (['th', 'st', 'nd', 'rd'][value % 10] ?? 'th');
  return `${String(value)}${end}`;
}

const ORDER = ['first', 'second', 'third', 'fourth', 'fifth'];

function weekdayWords(text: string): string | null {
  const placed = /^(\w+?)(?:#([1-5])|(L))$/.exec(text);
  const day = placed ? valueOf(placed[1] ?? '', WEEKDAY) : null;
  if (placed && day !== null) {
    const place = placed[3] ? 'last' : (ORDER[Number(placed[2]) - 1] ?? '');
    return `on the ${place} ${DAYS[day % 7] ?? ''}`;
  }
  const read7 = read(text, WEEKDAY);
  if (!read7) return null;
  const days = [...new Set(read7.values.map((value) => value % 7))].sort((left, right) => left - right);
  if (days.length === 7) return '';
  const key = days.join('');
  if (key === '12345') return 'on weekdays';
  if (key === '06') return 'on weekends';
  // The week begins on Monday when it is said.
  const said = days.map((value) => (value + 6) % 7).sort((left, right) => left - right);
  const name = (value: number) => DAYS[(value + 1) % 7] ?? '';
  const isRun = said.length > 2 && (said.at(-1) ?? 0) - (said[0] ?? 0) === said.length - 1;
  if (isRun) return `${name(said[0] ?? 0)} to ${name(said.at(-1) ?? 0)}`;
  return `on ${list(said.map((value) => `${name(value)}s`))}`;
}
