// Owns the tests of lengths as people type and read them.
import { expect, it } from 'vitest';
import { lengthOf, lengthText, lengthWords } from './length';

it('the short form and ISO 8601 are read, anything else is not', () => {
  expect(lengthOf('90s')).toBe(90_000);
  expect(lengthOf(' 1m30s ')).toBe(90_000);
  expect(lengthOf('250ms')).toBe(250);
  expect(lengthOf('1.5h')).toBe(5_400_000);
  expect(lengthOf('PT1M30S')).toBe(90_000);
  expect(lengthOf('P1D')).toBe(86_400_000);
  for (const text of ['', '90', 's', '5 min', '-5s', '1m 30s', 'PT']) expect(lengthOf(text), text).toBeNull();
});

it('what is written is read back', () => {
  for (const ms of [0, 250, 5_000, 90_000, 86_400_000, 93_784_005]) expect(lengthOf(lengthText(ms))).toBe(ms);
  expect(lengthText(93_784_005)).toBe('1d2h3m4s5ms');
});

it('in words', () => {
  expect(lengthWords(5_000)).toBe('5 s');
  expect(lengthWords(90_000)).toBe('1 min 30 s');
  expect(lengthWords(0)).toBe('0 s');
});
