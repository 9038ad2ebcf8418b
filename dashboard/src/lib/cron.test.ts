// Owns the tests of the words for cron patterns.
import { expect, it } from 'vitest';
import { cronWords } from './cron';

const said: readonly (readonly [string, string])[] = [
  ['* * * * *', 'every minute'],
  ['*/5 * * * *', 'every 5 min'],
  ['*/1 * * * *', 'every minute'],
  ['*/10 * * * * *', 'every 10 s'],
  ['* * * * * *', 'every second'],
  ['0 */5 * * * *', 'every 5 min'],
  ['0 * * * *', 'every hour'],
  ['@hourly', 'every hour'],
  ['5 * * * *', 'every hour at :05'],
  ['0,30 * * * *', 'every hour at :00 and :30'],
  ['0 */2 * * *', 'every 2 h'],
  ['30 */6 * * *', 'every 6 h at :30'],
  ['0 6 * * *', '06:00 every day'],
  ['@daily', '00:00 every day'],
  ['0 6,18 * * *', '06:00 and 18:00 every day'],
  ['15 0 6 * * *', '06:00:15 every day'],
  ['0 6 * * 1-5', '06:00 on weekdays'],
  ['0 6 * * MON-FRI', '06:00 on weekdays'],
  ['0 10 * * 0,6', '10:00 on weekends'],
  ['0 10 * * 6,7', '10:00 on weekends'],
  ['0 10 * * sun', '10:00 on Sundays'],
  ['0 10 * * 1,4', '10:00 on Mondays and Thursdays'],
  ['0 10 * * 1-4', '10:00 Monday to Thursday'],
  ['0 10 * * 0-6', '10:00 every day'],
  ['@weekly', '00:00 on Sundays'],
  ['*/15 9-17 * * 1-5', 'every 15 min from 09:00 to 17:45 on weekdays'],
  ['0 9-17 * * *', 'every hour from 09:00 to 17:00'],
  ['0 6 1 * *', '06:00 on the 1st of each month'],
  ['0 6 1,15 * *', '06:00 on the 1st and 15th of each month'],
  ['0 6 1-7 * *', '06:00 from the 1st to the 7th of each month'],
  ['0 6 L * *', '06:00 on the last day of each month'],
  ['0 6 11 * *', '06:00 on the 11th of each month'],
  ['@yearly', '00:00 on 1 January'],
  ['0 6 24 DEC *', '06:00 on 24 December'],
  ['0 6 * 6-8 *', '06:00 every day in June, July, and August'],
  ['0 6 * * MON#1', '06:00 on the first Monday of each month'],
  ['0 6 * * FRIL', '06:00 on the last Friday of each month'],
  ['0 6 1 * 1', '06:00 on Mondays and on the 1st of each month'],
  ['0 6 * 1 1', '06:00 on Mondays in January'],
];

it.each(said)('%s', (pattern, text) => {
  expect(cronWords(pattern)?.text).toBe(text);
});

it('what has no plain words has none', () => {
  for (const pattern of [
    '',
    '* * *',
    '0 99 * * *',
    '*/7 * * * *',
    '0 6 15W * *',
    '0 0-23/5 * * *',
    '1,2,3,4,5 6 * * *',
    'a b c d e',
    '0 6 */2 * *',
    '0 6 * * 5-1',
  ]) {
    expect(cronWords(pattern), pattern).toBeNull();
  }
});

it('a zone is said where it matters', () => {
  expect(cronWords('*/5 * * * *')?.isZoned).toBe(false);
  expect(cronWords('*/5 * * * 1')?.isZoned).toBe(true);
  expect(cronWords('0 */2 * * *')?.isZoned).toBe(true);
  expect(cronWords('0 6 * * *')?.isZoned).toBe(true);
});
