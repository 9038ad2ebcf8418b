// Owns the audit list's events. The feed is read forward only, so the list walks from the oldest event that is kept to
// the newest, page by page, and goes on behind that whenever something happens. It keeps the newest KEPT of them. Where
// the feed has forgotten its place, it walks from the oldest event once more.
import type { EventCursor, EventType } from '$lib/api/graphql';
import type { Problem } from '$lib/api/problem';
import { live } from '$lib/live/live.svelte';
import { trailDocument, type TrailEvent } from './documents';

const KEPT = 400;
/** Pages of 200 that are walked before the person is asked whether to go on. */
const PAGES_MAX = 10;
/** Events that come together are asked for together. */
const REST_MS = 1_000;

export class Trail {
  /** The newest first. */
  events = $state.raw<readonly TrailEvent[]>([]);
  problem = $state.raw<Problem | null>(null);
  /** Whether a walk is under way. */
  isWalking = $state.raw(true);
  /** Whether more of the past lies ahead than one walk reads. */
  hasMore = $state.raw(false);
  /** Whether a stretch of the past was left out. */
  isSkipped = $state.raw(false);
  #types: EventType[] = [];
  #cursor: EventCursor | null = null;
  #newest: EventCursor | null = null;
  #number = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Begins at the oldest event again, with these types. */
  begin(types: EventType[]): void {
    this.close();
    this.#types = types;
    this.#forget();
    this.walk();
  }

  #forget(): void {
    this.#cursor = null;
    this.events = [];
    this.isSkipped = false;
  }

  /** Reads on from where it stands. */
  walk(): void {
    this.isWalking = true;
    this.#number += 1;
    void this.#walk(this.#number);
  }

  /** Leaves out what has not been read and goes on with what happens. */
  skip(): void {
    this.#cursor = this.#newest;
    this.hasMore = false;
    this.isSkipped = true;
  }

  /** Something happened. */
  touch(): void {
    if (this.#timer !== undefined || this.hasMore || this.isWalking) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (document.visibilityState === 'visible') this.walk();
      else document.addEventListener('visibilitychange', this.#seen, { once: true });
    }, REST_MS);
  }

  close(): void {
    this.#number += 1;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    document.removeEventListener('visibilitychange', this.#seen);
  }

  #seen = () => {
    this.walk();
  };

  async #walk(number: number): Promise<void> {
    this.hasMore = false;
    let isAnew = false;
    for (let page = 1; page <= PAGES_MAX; page += 1) {
      const { data, problem } = await live.once(trailDocument, {
        after: this.#cursor,
        filter: { types: this.#types },
      });
      if (number !== this.#number) return;
      if (problem?.code === 'CURSOR_EXPIRED' && !isAnew) {
        isAnew = true;
        this.#forget();
        continue;
      }
      this.problem = problem;
      if (data === null) break;
      const { events } = data;
      this.#cursor = events.cursor;
      this.#newest = data.eventCursor;
      if (events.events.length > 0) this.events = [...events.events.toReversed(), ...this.events].slice(0, KEPT);
      this.hasMore = events.hasMorePastEvents;
      if (!this.hasMore) break;
    }
    this.isWalking = false;
  }
}
