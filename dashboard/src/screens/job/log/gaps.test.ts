// Owns the tests of gaps: a gap of any size is one row, and rows and lines find each other.
import { expect, it } from 'vitest';
import { Gaps } from './gaps';
import { linesBefore, positionBehind } from './position';
import type { LogCursor } from '$lib/api/graphql';

it('without a gap a row is a line', () => {
  const gaps = new Gaps();
  expect([gaps.rows(100), gaps.rowOf(42), gaps.lineOf(42)]).toEqual([100, 42, 42]);
});

it('a gap is one row', () => {
  const gaps = new Gaps();
  gaps.add({ from: 10, to: 1_000, bytes: 5 });
  expect(gaps.rows(1_010)).toBe(21);
  expect([9, 10, 500, 999, 1_000].map((line) => gaps.rowOf(line))).toEqual([9, 10, 10, 10, 11]);
  expect([9, 10, 11, 20].map((row) => gaps.lineOf(row))).toEqual([9, 10, 1_000, 1_009]);
});

it('every row comes back from its line, with several gaps', () => {
  const gaps = new Gaps();
  gaps.add({ from: 200, to: 300, bytes: 1 });
  gaps.add({ from: 5, to: 6, bytes: 1 });
  gaps.add({ from: 0, to: 3, bytes: 1 });
  for (let row = 0; row < gaps.rows(400); row += 1) expect(gaps.rowOf(gaps.lineOf(row))).toBe(row);
});

it('gaps that touch are one', () => {
  const gaps = new Gaps();
  expect(gaps.add({ from: 500, to: 750, bytes: 0 })).toBe(true);
  expect(gaps.add({ from: 250, to: 500, bytes: 0 })).toBe(true);
  expect(gaps.add({ from: 740, to: 800, bytes: 412 })).toBe(true);
  expect(gaps.all).toEqual([{ from: 250, to: 800, bytes: 412 }]);
  expect(gaps.add({ from: 300, to: 400, bytes: 0 })).toBe(false);
  expect(gaps.add({ from: 9, to: 9, bytes: 0 })).toBe(false);
  expect(gaps.at(249)).toBeNull();
  expect(gaps.at(799)?.to).toBe(800);
});

it('a position says how many lines lie before it', () => {
  expect(positionBehind('attempt_12', 500)).toBe('12.500');
  expect(linesBefore('12.500' as LogCursor)).toBe(500);
  expect(linesBefore('something else' as LogCursor)).toBe(0);
});
