// Owns the audit trail: the events in which somebody changed something, the newest first. The feed is read from its
// oldest event on, page by page, and then further whenever the page hears of a change. Where the feed has forgotten its
// place, it is read from the oldest event on once more.
import type { EventCursor, ResultOf } from '$lib/api/graphql';
import type { Problem } from '$lib/api/problem';
import { live } from '$lib/live/live.svelte';
import { AUDITED } from './audit-words';
import { auditDocument } from './documents';

export type AuditEvent = ResultOf<typeof auditDocument>['events']['events'][number];

/** Entries that are kept; older ones are left to `beadle events`. */
export const ENTRIES_MAX = 1_000;
/** Pages in a row; the person asks for more. A page looks through some thousand events. */
const PAGES_MAX = 40;

export class Audit {
  /** The newest first. */
  entries = $state.raw<readonly AuditEvent[]>([]);
  problem = $state.raw<Problem | null>(null);
  isReading = $state.raw(false);
  /** Whether the feed goes on behind what was read. */
  hasMore = $state.raw(true);
  /** Whether older entries were dropped. */
  isCut = $state.raw(false);

  #after: EventCursor | null = null;
  #isWanted = false;
  #isClosed = false;

  /** Reads on from where it stands to the end of the feed. */
  async read(): Promise<void> {
    this.#isWanted = true;
    if (this.isReading) return;
    this.isReading = true;
    this.problem = null;
    while (this.#wants()) {
      this.#isWanted = false;
      await this.#pages();
    }
    this.isReading = false;
  }

  close(): void {
    this.#isClosed = true;
  }

  #wants(): boolean {
    return this.#isWanted && !this.#isClosed && this.problem === null;
  }

  async #pages(): Promise<void> {
    let isAnew = false;
    for (let page = 0; page < PAGES_MAX && !this.#isClosed; page += 1) {
      const { data, problem } = await live.once(auditDocument, { after: this.#after, types: [...AUDITED] });
      if (problem?.code === 'CURSOR_EXPIRED' && !isAnew) {
        isAnew = true;
        this.#forget();
        continue;
      }
      this.problem = problem;
      if (data === null) return;
      const { events, cursor, hasMorePastEvents } = data.events;
      this.#after = cursor;
      this.hasMore = hasMorePastEvents;
      const all = [...[...events].reverse(), ...this.entries];
      this.isCut ||= all.length > ENTRIES_MAX;
      if (events.length > 0) this.entries = all.slice(0, ENTRIES_MAX);
      if (!hasMorePastEvents) return;
    }
  }

  /** What lies between what was read and what is kept is gone. */
  #forget(): void {
    this.#after = null;
    this.entries = [];
    this.isCut = false;
  }
}
