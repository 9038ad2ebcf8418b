// Owns that the strips of a list stay true: after a due time only the strip of that schedule is asked again, at most
// once a second each, and not while nobody looks.
import { live } from '$lib/live/live.svelte';
import { stripDocument } from './documents';

const REST_MS = 1_000;

/** Keeps the strips of these schedules while the component lives. */
export function keepStrips(isShown: (id: string) => boolean): void {
  const waiting = new Set<string>();
  let timer: ReturnType<typeof setTimeout> | undefined;

  function ask() {
    timer = undefined;
    if (document.visibilityState !== 'visible') return;
    const ids = [...waiting];
    waiting.clear();
    for (const id of ids) void live.once(stripDocument, { id });
  }
  const later = () => {
    if (waiting.size > 0) timer ??= setTimeout(ask, REST_MS);
  };

  live.listen({ types: ['SCHEDULE_TICKED', 'SCHEDULE_CHANGED'] }, (events) => {
    for (const { subject } of events) if (subject && isShown(subject.id)) waiting.add(subject.id);
    later();
  });
  $effect(() => {
    document.addEventListener('visibilitychange', later);
    return () => {
      document.removeEventListener('visibilitychange', later);
      clearTimeout(timer);
    };
  });
}
