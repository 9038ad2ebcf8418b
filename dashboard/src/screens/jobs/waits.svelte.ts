// Owns why the rows that are seen wait, and the incidents of those that failed: one question for all of them, asked
// again when something may have changed it. The answer comes to the rows themselves, as `blockers` and `incident`.
import { untrack } from 'svelte';
import { live } from '$lib/live/live.svelte';
import { waitsDocument } from './documents';

const MOST = 100;
/** Rows that come into sight together are asked together. */
const GATHER_MS = 120;

export interface Waits {
  /** Asks for this job until the returned function is called. */
  watch(id: string): () => void;
}

export function useWaits(): Waits {
  const watched = new Set<string>();
  let ids = $state.raw<readonly string[]>([]);
  let timer: ReturnType<typeof setTimeout> | undefined;

  live.load(waitsDocument, () => ({ ids: [...ids], first: Math.max(1, ids.length), isNeeded: ids.length > 0 }), {
    touchedBy: { types: ['JOB_STATE_CHANGED', 'QUEUE_CHANGED'], where: () => untrack(() => ids.length > 0) },
  });
  $effect(() => () => {
    clearTimeout(timer);
  });

  function gather() {
    clearTimeout(timer);
    timer = setTimeout(() => {
      const next = [...watched].slice(0, MOST).sort();
      if (next.join() !== ids.join()) ids = next;
    }, GATHER_MS);
  }

  return {
    watch(id) {
      watched.add(id);
      gather();
      return () => {
        watched.delete(id);
        gather();
      };
    },
  };
}
