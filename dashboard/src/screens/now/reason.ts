// Owns why a job waits, as a sentence with links: the daemon's blockers in the words of the row. Pure.
import { counted, relative } from '$lib/format';
import { href } from '$lib/router.svelte';
import type { WaitingJob } from './documents';

export type Blocker = WaitingJob['blockers'][number];

/** A piece of a sentence. */
export interface Word {
  readonly text: string;
  readonly href?: string;
  readonly isStrong?: boolean;
}

/** Jobs that are named before the rest is only counted. */
const NAMED = 2;

export function reasonOf(blocker: Blocker, state: WaitingJob['state'], now: number): Word[] {
  switch (blocker.__typename) {
    case 'HeldBlocker':
      return [{ text: `on hold by ${blocker.by}` }];
    case 'PausedBlocker':
      return [
        { text: 'queue ' },
        queueLink(blocker.queue.name),
        { text: ` is paused by ${blocker.by}${blocker.reason ? `: ${blocker.reason}` : ''}` },
      ];
    case 'ScheduledBlocker':
      return [
        { text: `${state === 'RETRYING' ? 'tries again' : 'starts'} ${relative(Date.parse(blocker.runAt), now)}` },
      ];
    case 'DependencyBlocker':
      return [{ text: 'waits for ' }, ...jobLinks(blocker.jobs)];
    case 'ConcurrencyBlocker':
      return [{ text: 'behind ' }, ...jobLinks(blocker.holders), { text: ` (${keyWords(blocker.key)})` }];
    case 'RateBlocker':
      return [
        { text: 'queue ' },
        queueLink(blocker.queue.name),
        { text: ` may start its next ${relative(Date.parse(blocker.until), now)}` },
      ];
    case 'WorkerBlocker':
    case 'CapacityBlocker':
      return [{ text: blocker.message }];
  }
}

function keyWords(key: string): string {
  if (key.startsWith('task:')) return 'limit of its task';
  return /^schedule_\d+$/.test(key) ? 'overlap of its schedule' : `key ${key}`;
}

const queueLink = (name: string): Word => ({ text: name, href: href('queues') });

function jobLinks(jobs: readonly { id: string }[]): Word[] {
  if (jobs.length === 0) return [{ text: 'a job' }];
  const named = jobs.slice(0, NAMED);
  const rest = jobs.length - named.length;
  const words = named.flatMap(({ id }, index): Word[] => {
    const link = { text: id, href: href('job', { id }) };
    return index === 0 ? [link] : [{ text: ', ' }, link];
  });
  return rest > 0 ? [...words, { text: ` and ${counted(rest, 'other job')}` }] : words;
}
