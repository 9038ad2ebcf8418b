// Owns every thing that the page knows, by its id: one reactive object each, the same on all screens. A thing that no
// screen holds any more is forgotten by the garbage collector, so a page that stays open for weeks does not grow.
// It must never decide which of two states is the newer one: that is `feed.ts`.
import { untrack } from 'svelte';

export type Fields = Record<string, unknown>;
/** For an id: the fields that must be left as they are. */
export type Guard = (id: string) => ReadonlySet<string> | undefined;

const noGuard: Guard = () => undefined;

/** Fields of JSON: nothing in them is a thing of ours, whatever it looks like. */
export const OPAQUE: ReadonlySet<string> = new Set(['data', 'output', 'parameters', 'parametersSchema']);

export function isThing(value: unknown): value is Fields & { id: string } {
  return isObject(value) && typeof value['id'] === 'string';
}

export class Rows {
  #rows = new Map<string, WeakRef<Fields>>();
  #gone = new FinalizationRegistry<string>((id) => {
    if (this.#rows.get(id)?.deref() === undefined) this.#rows.delete(id);
  });

  /** The thing as the page holds it, when some screen does. */
  get(id: string): Fields | undefined {
    return this.#rows.get(id)?.deref();
  }

  /** How many things are held. */
  get size(): number {
    return this.#rows.size;
  }

  /** The same tree with each thing in it replaced by its one reactive object, which takes the fields over. */
  adopt<T>(tree: T): T {
    return untrack(() => this.#adopt(tree)) as T;
  }

  /** Brings the fields of a tree to the things that are held; others are not made. */
  patch(tree: unknown, guard: Guard = noGuard): void {
    untrack(() => {
      this.#patch(tree, guard);
    });
  }

  #adopt(value: unknown): unknown {
    if (Array.isArray(value)) return value.map((item) => this.#adopt(item));
    if (!isObject(value)) return value;
    if (isThing(value)) return this.#assign(this.#held(value.id), value, undefined);
    const copy: Fields = {};
    for (const key of Object.keys(value)) copy[key] = this.#below(key, value[key]);
    return copy;
  }

  #patch(value: unknown, guard: Guard): void {
    if (Array.isArray(value)) for (const item of value) this.#patch(item, guard);
    if (!isObject(value)) return;
    const row = isThing(value) ? this.get(value.id) : undefined;
    if (row) this.#assign(row, value, guard(value['id'] as string));
    else for (const key of Object.keys(value)) if (!OPAQUE.has(key)) this.#patch(value[key], guard);
  }

  #below(key: string, value: unknown): unknown {
    return OPAQUE.has(key) ? value : this.#adopt(value);
  }

  #held(id: string): Fields {
    const known = this.get(id);
    if (known) return known;
    const row = $state<Fields>({ id });
    this.#rows.set(id, new WeakRef(row));
    this.#gone.register(row, id);
    return row;
  }

  #assign(row: Fields, fields: Fields, except: ReadonlySet<string> | undefined): Fields {
    for (const key of Object.keys(fields)) {
      if (except?.has(key)) continue;
      const next = this.#below(key, fields[key]);
      if (!(key in row) || !isSame(row[key], next)) row[key] = next;
    }
    return row;
  }
}

/** Whether nothing that is shown would change. Things are compared by identity: they change by themselves. */
function isSame(left: unknown, right: unknown): boolean {
  if (left === right) return true;
  if (Array.isArray(left) && Array.isArray(right)) {
    return left.length === right.length && left.every((item, index) => isSame(item, right[index]));
  }
  if (!isObject(left) || !isObject(right) || isThing(left) || isThing(right)) return false;
  const keys = Object.keys(left);
  return (
    keys.length === Object.keys(right).length && keys.every((key) => key in right && isSame(left[key], right[key]))
  );
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
