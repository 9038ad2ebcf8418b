// Owns the pages of a list behind its first one. The first page lives by its question; the others are brought when
// somebody wants to see more, and let go when another list is asked for.
import { untrack } from 'svelte';
import type { Answer } from '$lib/api/client';

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
  #lists = 0;
  readonly #list: List<Row, Data>;

  constructor(list: List<Row, Data>) {
    this.#list = list;
    $effect(() => {
      list.of?.();
      untrack(() => {
        this.#lists += 1;
        [this.#behind, this.#last, this.failure, this.isBringing] = [[], null, null, false];
      });
    });
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
    const { data, problem } = await this.#list.bring((this.#last ?? this.#list.first()?.pageInfo)?.endCursor ?? null);
    if (list !== this.#lists) return;
    this.isBringing = false;
    this.failure = problem?.message ?? null;
    if (data === null) return;
    const page = this.#list.page(data);
    this.#behind = [...this.#behind, ...page.nodes];
    this.#last = page.pageInfo;
  }
}
