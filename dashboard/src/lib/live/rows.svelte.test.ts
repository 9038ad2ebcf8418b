// Owns the tests of the things that the page holds: one object each, and no change where nothing changed.
import { readFileSync } from 'node:fs';
import { buildSchema, getNamedType, isObjectType } from 'graphql';
import { flushSync } from 'svelte';
import { expect, it } from 'vitest';
import { History } from './history';
import { OPAQUE, Rows } from './rows.svelte';
import type { EventCursor } from '$lib/api/graphql';

it('a thing is one object wherever it stands', () => {
  const rows = new Rows();
  const first = rows.adopt({ jobs: [{ id: 'job_1', queue: { id: 'queue_1', name: 'default' } }] });
  const second = rows.adopt({ queue: { id: 'queue_1', waitingCount: 3 } });
  expect(second.queue).toBe(first.jobs[0]?.queue);
  expect(first.jobs[0]?.queue).toMatchObject({ name: 'default', waitingCount: 3 });
});

it('what shows a field runs again only when that field changes', () => {
  const rows = new Rows();
  const { job } = rows.adopt({
    job: { id: 'job_1', state: 'RUNNING', progress: { fraction: 0.1 }, labels: [{ key: 'a' }] },
  });
  const states: string[] = [];
  const fractions: number[] = [];
  const stop = $effect.root(() => {
    $effect(() => {
      states.push(job.state);
    });
    $effect(() => {
      fractions.push(job.progress.fraction);
    });
  });
  flushSync();
  rows.patch({ id: 'job_1', state: 'RUNNING', progress: { fraction: 0.1 }, labels: [{ key: 'a' }] });
  flushSync();
  rows.patch({ id: 'job_1', state: 'RUNNING', progress: { fraction: 0.2 }, labels: [{ key: 'a' }] });
  flushSync();
  stop();
  expect(states).toEqual(['RUNNING']);
  expect(fractions).toEqual([0.1, 0.2]);
});

it('a patch makes no new thing but reaches those inside of unknown ones', () => {
  const rows = new Rows();
  const { queue } = rows.adopt({ queue: { id: 'queue_1', name: 'default' } });
  rows.patch({ id: 'job_5', queue: { id: 'queue_1', name: 'renamed' } });
  expect(rows.get('job_5')).toBeUndefined();
  expect(queue.name).toBe('renamed');
});

it('history is bounded and gives the newest of each shape', () => {
  const history = new History(100);
  const cursor = (number: number) => `c${String(number)}` as EventCursor;
  for (let number = 0; number < 1_000; number += 1) {
    history.note(cursor(number), { id: `job_${String(number)}`, queue: { id: 'queue_1', waitingCount: number } });
  }
  expect(history.size).toBeLessThanOrEqual(101);
  expect(history.place(cursor(10))).toBeUndefined();
  const place = history.place(cursor(998)) ?? 0;
  expect(history.toldBehind('queue_1', place)).toEqual([{ id: 'queue_1', waitingCount: 999 }]);
  expect(history.toldBehind('queue_1', place + 1)).toEqual([]);
  history.note(cursor(1_000), { id: 'queue_1', name: 'default', waitingCount: 4 });
  expect(history.toldBehind('queue_1', place)).toHaveLength(2);
});

it('JSON that looks like a thing is none', () => {
  const rows = new Rows();
  const { attempt } = rows.adopt({ attempt: { id: 'attempt_1', worker: { id: 'worker_1', name: 'host:1' } } });
  const fact = { id: 'attempt_1', worker: 'worker_1' };
  const { events, job } = rows.adopt({
    events: [{ cursor: 'c', data: fact }],
    job: { id: 'job_1', parameters: fact, output: { deep: [fact] } },
  });
  rows.patch({ subject: { id: 'job_1', output: fact }, data: fact });
  expect(attempt.worker.name).toBe('host:1');
  expect(events[0]?.data).toEqual(fact);
  expect(job.output).toEqual(fact);
});

it('every field of JSON is known as one', () => {
  const schema = buildSchema(readFileSync('../schema.graphql', 'utf8'));
  const found = new Map<string, Set<boolean>>();
  for (const type of Object.values(schema.getTypeMap())) {
    if (!isObjectType(type) || type.name.startsWith('__')) continue;
    for (const field of Object.values(type.getFields())) {
      const seen = found.get(field.name) ?? new Set<boolean>();
      found.set(field.name, seen.add(getNamedType(field.type).name === 'JSON'));
    }
  }
  expect([...OPAQUE].sort()).toEqual([...found.keys()].filter((name) => found.get(name)?.has(true)).sort());
  expect([...OPAQUE].filter((name) => found.get(name)?.has(false))).toEqual([]);
});
