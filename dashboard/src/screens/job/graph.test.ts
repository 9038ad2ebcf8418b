// Owns the tests of the picture of dependencies.
import { expect, it } from 'vitest';
import { layout, type GraphJob } from './graph';

const at = (job: GraphJob) => new Map(layout(job).places.map((place) => [place.job.id, [place.column, place.row]]));

it('what comes first stands left, what waits stands right', () => {
  const build = { id: 'build' };
  const place = at({ id: 'test', before: [{ ...build }], after: [{ id: 'deploy' }] });
  expect(place.get('build')).toEqual([0, 0]);
  expect(place.get('test')).toEqual([1, 0]);
  expect(place.get('deploy')).toEqual([2, 0]);
});

it('a job stands behind all that it waits for, also by a longer way', () => {
  const source = { id: 'source' };
  const place = at({ id: 'deploy', before: [source, { id: 'test', before: [source] }] });
  expect(place.get('source')?.[0]).toBe(0);
  expect(place.get('test')?.[0]).toBe(1);
  expect(place.get('deploy')?.[0]).toBe(2);
});

it('looks two steps far, and each line is drawn once', () => {
  const chain = { id: 'd', before: [{ id: 'c', before: [{ id: 'b', before: [{ id: 'a' }] }] }] };
  const drawn = layout(chain as GraphJob);
  expect(drawn.places.map((place) => place.job.id).sort()).toEqual(['b', 'c', 'd']);
  expect(drawn.links).toHaveLength(2);
});

it('a short column stands in the middle of a long one', () => {
  const place = at({ id: 'x', after: [{ id: 'a' }, { id: 'b' }, { id: 'c' }] });
  expect(place.get('x')).toEqual([0, 1]);
});

it('lines do not cross where the order can prevent it', () => {
  const [a, b] = [{ id: 'a' }, { id: 'b' }];
  const place = at({
    id: 'x',
    before: [
      { id: 'p', before: [b] },
      { id: 'q', before: [a] },
    ],
  } as GraphJob);
  const row = (id: string) => place.get(id)?.[1] ?? -1;
  expect(Math.sign(row('a') - row('b'))).toBe(Math.sign(row('q') - row('p')));
});

it('a circle, which there cannot be, still ends', () => {
  const x: { id: string; before: GraphJob[]; after: GraphJob[] } = { id: 'x', before: [], after: [] };
  x.before.push({ id: 'y', before: [x] });
  expect(layout<GraphJob>(x).places.length).toBe(2);
});
