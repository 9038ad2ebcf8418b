// Owns the pages of a list behind its first one. The first page lives by its question; the others are brought when
// somebody wants to see more, and let go when another list is asked for.
import { untrack } from 'svelte';
import type { Answer } from '$lib/api/client';
import { pushedOut } from './meeting';

export interface Page<Row> {
  readonly nodes: readonly Row[];
  readonly pageInfo: { readonly hasNextPage: boolean; readonly endCursor: string | null };
}

interface List<Row, Data> {
  /** The first page; undefined before there is one. */
  readonly first: () => Page<Row> | undefined;
  /** What is asked for, such as a filter: when it changes it is another list. */
  readonly of?: () => unknown;
  readonly bring: (after: string | null) => Promise<Answer<Data>>;
  readonly page: (data: Data) => Page<Row>;
}

/** Make it while a component is made: it lives as long. */
export class More<Row extends { readonly id: string }, Data> {
  isBringing = $state.raw(false);
  /** Why the last page could not be brought. */
  failure = $state.raw<string | null>(null);
  #behind = $state.raw<readonly Row[]>([]);
  /** Where the last page that was brought ends; null: none was brought yet. */
  #last = $state.raw<Page<Row>['pageInfo'] | null>(null);
  /** The rows of the first page as it was when it was looked at last. */
  #before: readonly Row[] = [];
  #lists = 0;
  readonly #list: List<Row, Data>;

  constructor(list: List<Row, Data>) {
    this.#list = list;
    $effect(() => {
      list.of?.();
      untrack(() => {
        this.#begin();
      });
    });
    $effect(() => {
      const page = list.first();
      untrack(() => {
        this.#meet(page);
      });
    });
  }

  #begin(): void {
    this.#lists += 1;
    [this.#behind, this.#last, this.failure, this.isBringing] = [[], null, null, false];
  }

  /** What a new first page pushed out goes on standing here; pages that do not meet any more are brought anew. */
  #meet(page: Page<Row> | undefined): void {
    const rows = page?.nodes ?? [];
    if (this.#last !== null) {
      // What had moved up before is nothing that lies behind.
      const before = new Set(this.#before.map((row) => row.id));
      this.#behind = this.#behind.filter((row) => !before.has(row.id));
      const behind = this.#behind.map((row) => row.id);
      const ids = { before: this.#before.map((row) => row.id), now: rows.map((row) => row.id), behind };
      const pushed = page?.pageInfo.hasNextPage ? pushedOut(ids) : null;
      if (pushed === null) this.#begin();
      else if (pushed.length > 0) {
        const known = new Set(behind);
        const more = this.#before.filter((row) => pushed.includes(row.id) && !known.has(row.id));
        this.#behind = [...more, ...this.#behind];
      }
    }
    this.#before = rows;
  }

  /** All rows that are here. */
  readonly rows: readonly Row[] = $derived.by(() => {
    const first = this.#list.first()?.nodes ?? [];
    const known = new Set(first.map((row) => row.id));
    return [...first, ...this.#behind.filter((row) => !known.has(row.id))];
  });

  /** Whether there are others. */
  readonly isPart: boolean = $derived.by(() => (this.#last ?? this.#list.first()?.pageInfo)?.hasNextPage ?? false);

  async bring(): Promise<void> {
    if (this.isBringing) return;
    const list = this.#lists;
    this.isBringing = true;
    const first = this.#list.first();
    const { data, problem } = await this.#list.bring((this.#last ?? first?.pageInfo)?.endCursor ?? null);
    if (list !== this.#lists) return;
    this.isBringing = false;
    this.failure = problem?.message ?? null;
    if (data === null) return;
    const page = this.#list.page(data);
    const isFirst = this.#last === null;
    this.#behind = [...this.#behind, ...page.nodes];
    this.#last = page.pageInfo;
    // It was asked for behind that one.
    if (isFirst) {
      this.#before = first?.nodes ?? [];
      this.#meet(this.#list.first());
    }
  }
}
