import { expect, test } from 'vitest';
import { isoOf, lengthOf, lengthText, lengthWords, typedLength } from './length';

test('the short form and ISO are read', () => {
  expect(lengthOf('90s')).toBe(90_000);
  expect(lengthOf(' 1m 30s ')).toBe(90_000);
  expect(lengthOf('250ms')).toBe(250);
  expect(lengthOf('1.5h')).toBe(5_400_000);
  expect(lengthOf('1d2h')).toBe(93_600_000);
  expect(lengthOf('PT1M30S')).toBe(90_000);
  expect(lengthOf('pt90s')).toBe(90_000);
  expect(lengthOf('P1D')).toBe(86_400_000);
});

test('what is no length is none', () => {
  for (const text of ['', '5', '5x', 's', 's5', '5 min', '30s 1m', '-1s', 'P', 'PT']) {
    expect(lengthOf(text), text).toBeNull();
  }
});

test('a length is written so that it is read as the same', () => {
  for (const iso of ['PT0S', 'PT0.25S', 'PT10S', 'PT1H', 'PT1H1M1S', 'P1DT2H', 'PT1.5S', 'P8DT0.001S', 'PT12.5S']) {
    expect(isoOf(typedLength(iso))).toBe(isoOf(iso));
  }
  expect(typedLength('PT90S')).toBe('1m 30s');
  expect(typedLength(null)).toBe('');
  for (const ms of [0, 250, 5_000, 90_000, 86_400_000, 93_784_005]) expect(lengthOf(lengthText(ms))).toBe(ms);
  expect(lengthText(93_784_005)).toBe('1d2h3m4s5ms');
});

test('in words', () => {
  expect(lengthWords(5_000)).toBe('5 s');
  expect(lengthWords(90_000)).toBe('1 min 30 s');
  expect(lengthWords(0)).toBe('0 s');
});
