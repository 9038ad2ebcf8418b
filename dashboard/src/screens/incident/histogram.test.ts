import { describe, expect, it } from 'vitest';
import { bars, DAY } from './histogram';

const now = new Date(2026, 10, 26, 15, 30, 20).getTime();

describe('the bars of an incident', () => {
  it('end with the minute that runs', () => {
    const [last] = bars(
      Array.from({ length: 24 }, () => 2),
      DAY,
      now,
    ).slice(-1);
    expect(last?.title).toBe('14:31 to 15:31: 2 failures');
  });
  it('say the day for what was not today', () => {
    const [first] = bars(
      Array.from({ length: 24 }, () => 0),
      DAY,
      now,
    );
    expect(first?.title).toBe('25 Nov 15:31 to 25 Nov 16:31: no failure');
  });
  it('say both ends of days', () => {
    const marks = bars([0, 0, 1], 3 * DAY, now);
    expect(marks.map((mark) => mark.shape)).toEqual(['faint', 'faint', 'full']);
    expect(marks.at(-1)?.title).toBe('25 Nov, 15:31 to 26 Nov, 15:31: 1 failure');
  });
});
