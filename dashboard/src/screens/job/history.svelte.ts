// Owns the events of one job as the page holds them: read once from the oldest kept one on, then told by the feed.
import type { EventCursor, ResultOf } from '$lib/api/graphql';
import type { Answer } from '$lib/api/client';
import type { Problem } from '$lib/api/problem';
import { live } from '$lib/live/live.svelte';
import { historyDocument } from './documents';
import { HISTORY_TYPES, type JobEvent } from './history';

export const EVENTS_MAX = 1_000;

export class JobHistory {
  events = $state.raw<readonly JobEvent[]>([]);
  problem = $state.raw<Problem | null>(null);
  /** There are more than are held. */
  isCut = $state.raw(false);
  isRead = $state.raw(false);

  constructor(readonly id: string) {}

  async read(): Promise<void> {
    let after: EventCursor | null = null;
    for (;;) {
      const { data, problem } = await this.#page(after);
      this.problem = problem;
      if (!data) return;
      const batch = data.events;
      this.add(batch.events);
      after = batch.cursor;
      if (!batch.hasMorePastEvents || this.isCut) break;
    }
    this.isRead = true;
  }

  #page(after: EventCursor | null): Promise<Answer<ResultOf<typeof historyDocument>>> {
    return live.once(historyDocument, { id: this.id, after, types: [...HISTORY_TYPES] });
  }

  /** Takes events over that are not known yet. */
  add(more: readonly JobEvent[]): void {
    if (this.isCut) return;
    const known = new Set(this.events.map((event) => event.cursor));
    const all = [...this.events, ...more.filter((event) => !known.has(event.cursor))];
    this.isCut = all.length > EVENTS_MAX;
    this.events = all.sort((left, right) => Date.parse(left.at) - Date.parse(right.at)).slice(0, EVENTS_MAX);
  }
}
