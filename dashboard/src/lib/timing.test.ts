// Owns the tests of how the rule of a schedule is said.
import { expect, it } from 'vitest';
import { localWords, timingWords } from './timing';

const every = (length: string) => timingWords({ __typename: 'IntervalTiming', every: length }, 'UTC');
const cron = (pattern: string, zone = 'Europe/Berlin') =>
  timingWords({ __typename: 'CronTiming', cron: pattern }, zone);

it('intervals and patterns are said in words', () => {
  expect(every('PT5S')).toBe('every 5 s');
  expect(every('PT1M')).toBe('every minute');
  expect(every('PT1M30S')).toBe('every 1 min 30 s');
  expect(every('P1D')).toBe('every day');
  expect(cron('0 6 * * 1-5')).toBe('06:00 on weekdays, Europe/Berlin');
  expect(cron('*/5 * * * *')).toBe('every 5 min');
  expect(cron('*/7 * * * *')).toBe('*/7 * * * *, Europe/Berlin');
});

it('the local time of a due time is read from the daemon, not reckoned', () => {
  expect(localWords('2026-11-27T02:30:00+01:00[Europe/Berlin]')).toBe('Fri 27 Nov 2026, 02:30 +01:00');
  expect(localWords('2026-11-27T02:30:05.107+00:00[UTC]')).toBe('Fri 27 Nov 2026, 02:30:05.107 UTC');
  expect(localWords('tomorrow')).toBe('tomorrow');
});
