import { describe, expect, it } from 'vitest';
import { settle } from './calm';

describe('the order of the list', () => {
  it('follows the answer at the top', () => {
    expect(settle(['a', 'b'], ['c', 'a', 'b'], true)).toEqual({ shown: ['c', 'a', 'b'], news: [] });
    expect(settle(null, ['a'], false)).toEqual({ shown: ['a'], news: [] });
  });
  it('stays where somebody reads, and counts what is new', () => {
    expect(settle(['a', 'b'], ['c', 'b', 'a'], false)).toEqual({ shown: ['a', 'b'], news: ['c'] });
    expect(settle(['a', 'b'], ['b'], false)).toEqual({ shown: ['a', 'b'], news: [] });
  });
});
