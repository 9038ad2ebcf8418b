// Owns the tests of what the page knows of due times between two answers.
import { expect, it } from 'vitest';
import type { TickShown } from './documents';
import { comingDues, countWords, futureMarks, lateSince, mergeLedger, nextDue, pastMarks, type Rule } from './dues';

const at = (seconds: number) => new Date(1_700_000_000_000 + seconds * 1_000).toISOString();
const now = Date.parse(at(0));
const rule = (over: Partial<Rule> = {}): Rule => ({
  timing: { __typename: 'IntervalTiming', every: 'PT5S' },
  nextDueAt: at(3),
  isPaused: false,
  pausedUntil: null,
  ...over,
});
const cron: Rule['timing'] = { __typename: 'CronTiming', cron: '0 6 * * *' };
const tick = (seconds: number, over: Partial<TickShown> = {}): TickShown => ({
  dueAt: at(seconds),
  firstDueAt: at(seconds),
  outcome: 'STARTED',
  count: 1,
  job: null,
  ...over,
});
const seconds = (dues: readonly { at: string }[]) => dues.map((due) => (Date.parse(due.at) - now) / 1_000);

it('an interval is counted on behind what the daemon told, in its own steps', () => {
  const known = [{ at: at(-2) }, { at: at(3) }];
  expect(seconds(comingDues(rule(), known, now, 4))).toEqual([3, 8, 13, 18]);
  // All of what was told has passed.
  expect(seconds(comingDues(rule(), known, now + 20_000, 2))).toEqual([23, 28]);
  // A due time of this very moment is not to come any more.
  expect(seconds(comingDues(rule(), known, now + 3_000, 2))).toEqual([8, 13]);
  expect(seconds(comingDues(rule(), [], now, 2))).toEqual([8, 13]);
});

it('a pattern is not guessed', () => {
  const known = [{ at: at(-2) }, { at: at(30) }];
  expect(seconds(comingDues(rule({ timing: cron }), known, now, 5))).toEqual([30]);
  expect(comingDues(rule({ timing: cron }), known, now + 60_000, 5)).toEqual([]);
});

it('the next due time is the told one while it lies ahead', () => {
  expect(nextDue(rule(), [], now)).toBe(Date.parse(at(3)));
  expect(nextDue(rule({ nextDueAt: at(-2) }), [], now)).toBe(Date.parse(at(3)));
  expect(nextDue(rule({ timing: cron, nextDueAt: at(-2) }), [{ at: at(40) }], now)).toBe(Date.parse(at(40)));
  expect(nextDue(rule({ timing: cron, nextDueAt: null }), [], now)).toBeNull();
});

it('a schedule is late only when nothing explains the silence', () => {
  const late = rule({ nextDueAt: at(-10) });
  expect(lateSince(late, tick(-15), now)).toBe(Date.parse(at(-10)));
  expect(lateSince(rule({ nextDueAt: at(-2) }), tick(-7), now)).toBeNull();
  expect(lateSince({ ...late, isPaused: true }, tick(-15), now)).toBeNull();
  expect(lateSince(late, tick(-15, { outcome: 'SKIPPED_OVERLAP' }), now)).toBeNull();
});

it('the past reads from left to right, and a pause makes what is to come hollow until it ends', () => {
  expect(pastMarks([tick(-5), tick(-10)], now).map((mark) => mark.key)).toEqual([
    `${at(-10)} STARTED`,
    `${at(-5)} STARTED`,
  ]);
  const paused = rule({ isPaused: true, pausedUntil: at(10) });
  expect(futureMarks(paused, [{ at: at(8) }, { at: at(13) }]).map((mark) => mark.shape)).toEqual(['hollow', 'faint']);
});

it('the newest run of skips is counted on', () => {
  const skips = tick(-10, { firstDueAt: at(-20), outcome: 'SKIPPED_PAUSED', count: 3 });
  expect(countWords(skips, false, rule(), now)).toBe('3 due times');
  expect(countWords(skips, true, rule({ nextDueAt: at(5) }), now)).toBe('5 due times');
  // With a jitter of 3 s the fifth one has not come yet.
  expect(countWords(skips, true, rule({ nextDueAt: at(3) }), now)).toBe('4 due times');
  expect(countWords(skips, true, rule({ timing: cron }), now)).toBe('at least 3 due times');
  expect(countWords(tick(-5), true, rule(), now)).toBeNull();
});

it('pages of the ledger meet by the first due time of a row, which a growing run keeps', () => {
  const row = (seconds: number, dueAt = seconds) => ({
    cursor: String(dueAt),
    node: tick(dueAt, { firstDueAt: at(seconds) }),
  });
  const older = [row(-10, -8), row(-20)];
  const merged = mergeLedger([row(-5), row(-10, -6)], older);
  expect(merged?.map((each) => each.cursor)).toEqual(['-5', '-6', '-20']);
  expect(mergeLedger([row(-5)], older)).toBeNull();
  expect(mergeLedger([row(-5)], [])).toHaveLength(1);
});
