import { describe, expect, it } from 'vitest';
import { settle } from './calm';

const told = (first: string[], behind: string[] = []) => ({ first, behind });

describe('the order of the list', () => {
  it('follows the answer at the top', () => {
    expect(settle(['a', 'b'], told(['c', 'a'], ['b']), true)).toEqual({ shown: ['c', 'a', 'b'], news: [] });
    expect(settle(null, told(['a']), false)).toEqual({ shown: ['a'], news: [] });
  });
  it('stays where somebody reads, and counts what is new', () => {
    expect(settle(['a', 'b'], told(['c', 'b', 'a']), false)).toEqual({ shown: ['a', 'b'], news: ['c'] });
    expect(settle(['a', 'b'], told(['b']), false)).toEqual({ shown: ['a', 'b'], news: [] });
  });
  it('goes on below, and a row that moved up stays where it is read', () => {
    expect(settle(['a', 'b'], told(['a', 'b'], ['c']), false)).toEqual({ shown: ['a', 'b', 'c'], news: [] });
    expect(settle(['a', 'b', 'c'], told(['c', 'a'], ['b']), false)).toEqual({ shown: ['a', 'b', 'c'], news: [] });
  });
});
