// Owns the tests of where a row goes that leaves a first page.
import { describe, expect, it } from 'vitest';
import { pushedOut } from './meeting';

const ids = (text: string) => text.split('').filter((letter) => letter !== ' ');
const pushed = (before: string, now: string, behind: string) =>
  pushedOut({ before: ids(before), now: ids(now), behind: ids(behind) });

describe('a row that leaves the first page', () => {
  it('stands behind it when others came in above', () => {
    expect(pushed('abcd', 'xabc', 'ef')).toEqual(['d']);
    expect(pushed('abcd', 'xyab', 'ef')).toEqual(['c', 'd']);
    expect(pushed('abcd', 'abcx', 'ef')).toEqual(['d']);
  });
  it('also when a row moved up at once', () => {
    expect(pushed('abcd', 'xdab', 'ef')).toEqual(['c']);
    expect(pushed('abcd', 'fabc', 'ef')).toEqual(['d']);
  });
  it('is gone when those behind it moved up', () => {
    expect(pushed('abcd', 'acde', 'ef')).toEqual([]);
    expect(pushed('abcd', 'abce', 'ef')).toEqual([]);
    expect(pushed('abcd', '', 'ef')).toEqual([]);
    expect(pushed('abcd', 'dabc', 'ef')).toEqual([]);
  });
  it('leaves a gap when all others went with it', () => {
    expect(pushed('abcd', 'wxyz', 'ef')).toBeNull();
    expect(pushed('', 'wxyz', '')).toEqual([]);
  });
});
