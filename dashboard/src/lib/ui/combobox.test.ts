import { describe, expect, it } from 'vitest';
import { offer, SHOWN_MAX } from './combobox';

const zones = ['America/New_York', 'Europe/Berlin', 'Europe/London', 'UTC'].map((value) => ({ value }));
const values = (typed: string) => offer(zones, typed).shown.map((option) => option.value);

describe('what a combobox offers', () => {
  it('offers all before anything is typed', () => {
    expect(values('')).toHaveLength(4);
  });
  it('finds the parts of a name, in any case', () => {
    expect(values('new york')).toEqual(['America/New_York']);
    expect(values('BERLIN')).toEqual(['Europe/Berlin']);
    expect(values('berlin eu')).toEqual(['Europe/Berlin']);
    expect(values('Europe/')).toEqual(['Europe/Berlin', 'Europe/London']);
    expect(values('mars')).toEqual([]);
  });
  it('puts what begins so before what only holds it', () => {
    const tasks = [{ value: 'nightly-backup' }, { value: 'backup' }];
    expect(offer(tasks, 'back').shown.map((option) => option.value)).toEqual(['backup', 'nightly-backup']);
  });
  it('says how many are not shown', () => {
    const many = Array.from({ length: SHOWN_MAX + 7 }, (_, index) => ({ value: `task-${String(index)}` }));
    expect(offer(many, 'task')).toMatchObject({ moreCount: 7 });
  });
});
