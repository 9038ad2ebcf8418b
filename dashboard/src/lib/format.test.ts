// Owns the tests of how times, lengths, sizes and commands are written.
import { describe, expect, it } from 'vitest';
import { bytes, commandLine, duration, millisecondsOf, relative, shellWord, wholeDuration } from './format';

describe('lengths', () => {
  it.each([
    ['PT0S', 0],
    ['PT1M30.5S', 90_500],
    ['P1DT2H', 93_600_000],
    ['P1W', 604_800_000],
    ['1m', null],
    ['PT', null],
  ])('%s is %s ms', (text, ms) => {
    expect(millisecondsOf(text)).toBe(ms);
  });
  it.each([
    [0, '0s'],
    [350, '350ms'],
    [4_260, '4.2s'],
    [92_000, '1m 32s'],
    [120_000, '2m'],
    [11_100_000, '3h 5m'],
    [187_200_000, '2d 4h'],
  ])('%s ms is written %s', (ms, text) => {
    expect(duration(ms)).toBe(text);
  });
  it('what runs is written in whole seconds', () => {
    expect(wholeDuration(1_999)).toBe('1s');
  });
});

it.each([
  [-2_000, 'just now'],
  [600, 'now'],
  [3_000, 'in a moment'],
  [-130_000, '2 min ago'],
  [40_000, 'in 40 s'],
  [3 * 3_600_000, 'in 3 h'],
  [-5 * 86_400_000, '5 d ago'],
])('%s ms away is %s', (away, text) => {
  expect(relative(1_000_000_000 + away, 1_000_000_000)).toBe(text);
});

it.each([
  [999, '999 B'],
  [1_000, '1.0 KB'],
  [412_345, '412 KB'],
  [999_600, '1.0 MB'],
  [1_400_000_000, '1.4 GB'],
])('%s bytes are %s', (count, text) => {
  expect(bytes(count)).toBe(text);
});

it('a command is one line that a shell takes', () => {
  expect(commandLine({ argv: ['sh', '-c', "echo it's"], script: null, handler: null })).toBe(`sh -c 'echo it'\\''s'`);
  expect(commandLine({ argv: [], script: '\nmake\nmake test', handler: null })).toBe('make');
  expect(shellWord('')).toBe("''");
});
