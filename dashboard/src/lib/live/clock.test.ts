// Owns the tests of the offset between the daemon's clock and the page's.
import { expect, it } from 'vitest';
import { Offset } from './clock.svelte';

const noon = Date.parse('2026-11-26T12:00:00Z');

it('clocks that agree to a second are taken as equal', () => {
  const offset = new Offset();
  offset.date(new Date(noon), noon + 600, noon + 640);
  expect(offset.ms).toBe(0);
});

it('a page that is behind learns it from dates and, more exactly, from events', () => {
  const offset = new Offset();
  offset.date(new Date(noon), noon - 60_000, noon - 59_900);
  expect(offset.ms).toBe(59_900);
  offset.event('2026-11-26T12:00:01.400Z', noon - 59_000);
  expect(offset.ms).toBe(60_400);
});

it('a page that is ahead learns it', () => {
  const offset = new Offset();
  offset.date(new Date(noon), noon + 3_600_000, noon + 3_600_010);
  expect(offset.ms).toBe(-3_599_000);
});

it('old events say nothing, and a clock that was set counts anew', () => {
  const offset = new Offset();
  offset.event('2020-01-01T00:00:00Z', noon);
  expect(offset.ms).toBe(0);
  offset.date(new Date(noon), noon, noon);
  offset.date(new Date(noon + 100_000), noon + 10, noon + 10);
  expect(offset.ms).toBe(99_990);
});
