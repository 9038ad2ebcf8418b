import { expect, test } from 'vitest';
import { isoOf, lengthOf, typedLength } from './length';

test('the short form and ISO are read', () => {
  expect(lengthOf('90s')).toBe(90_000);
  expect(lengthOf(' 1m 30s ')).toBe(90_000);
  expect(lengthOf('250ms')).toBe(250);
  expect(lengthOf('1.5h')).toBe(5_400_000);
  expect(lengthOf('1d2h')).toBe(93_600_000);
  expect(lengthOf('PT1M30S')).toBe(90_000);
  expect(lengthOf('pt90s')).toBe(90_000);
});

test('what is no length is none', () => {
  for (const text of ['', '5', '5x', 's5', '30s 1m', '-1s', 'P']) expect(lengthOf(text)).toBeNull();
});

test('a length is written so that it is read as the same', () => {
  for (const iso of ['PT0S', 'PT0.25S', 'PT10S', 'PT1H', 'PT1H1M1S', 'P1DT2H', 'PT1.5S', 'P8DT0.001S', 'PT12.5S']) {
    expect(isoOf(typedLength(iso))).toBe(isoOf(iso));
  }
  expect(typedLength('PT90S')).toBe('1m 30s');
  expect(typedLength(null)).toBe('');
});
