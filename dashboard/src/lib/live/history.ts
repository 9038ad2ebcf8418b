// Owns the last stretch of the feed that the page has seen: which cursors, in which order, and of each thing the newest
// state that they told. Cursors are opaque, so "behind" is asked here and nowhere else. Bounded by CURSORS_MAX.
import type { EventCursor } from '$lib/api/graphql';
import { isThing, OPAQUE, type Fields } from './rows.svelte';

/** Positions of the feed that are remembered. */
export const CURSORS_MAX = 5_000;

interface Told {
  place: number;
  fields: Fields;
}

export class History {
  #places = new Map<EventCursor, number>();
  // A thing is told in different shapes, whole as a subject and in short inside of another: the newest of each shape.
  #told = new Map<string, Map<string, Told>>();
  #next = 0;

  constructor(private readonly cursorsMax = CURSORS_MAX) {}

  /** Where a cursor stands among those seen; undefined when it is not known, be it too old or not here yet. */
  place(cursor: EventCursor): number | undefined {
    return this.#places.get(cursor);
  }

  /** Things of which something is remembered. */
  get size(): number {
    return this.#told.size;
  }

  /** The feed has come to this cursor, with this state of the event's subject. */
  note(cursor: EventCursor, subject: unknown): void {
    if (!this.#places.has(cursor)) {
      this.#places.set(cursor, this.#next);
      this.#next += 1;
    }
    if (subject !== null && subject !== undefined) this.#remember(subject, this.#next - 1);
    if (this.#places.size > this.cursorsMax) this.#trim();
  }

  /** What was told of a thing behind a place, the oldest first. */
  toldBehind(id: string, place: number): Fields[] {
    const shapes = this.#told.get(id);
    if (!shapes) return [];
    const later = [...shapes.values()].filter((told) => told.place > place);
    return later.sort((left, right) => left.place - right.place).map((told) => told.fields);
  }

  clear(): void {
    this.#places.clear();
    this.#told.clear();
  }

  #remember(value: unknown, place: number): void {
    if (Array.isArray(value)) for (const item of value) this.#remember(item, place);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return;
    const fields = value as Fields;
    if (isThing(fields)) {
      const shapes = this.#told.get(fields.id) ?? new Map<string, Told>();
      shapes.set(Object.keys(fields).join(), { place, fields });
      // Moved to the end: the map is in the order of the newest place, which is what `#trim` relies on.
      this.#told.delete(fields.id);
      this.#told.set(fields.id, shapes);
    }
    for (const key of Object.keys(fields)) if (!OPAQUE.has(key)) this.#remember(fields[key], place);
  }

  #trim(): void {
    const [oldest] = this.#places.keys();
    if (oldest !== undefined) this.#places.delete(oldest);
    const floor = this.#next - this.#places.size;
    for (const [id, shapes] of this.#told) {
      if ([...shapes.values()].some((told) => told.place >= floor)) break;
      this.#told.delete(id);
    }
  }
}
