// Owns how the pages of a list become one list: a new first page over what is loaded, and a next page behind it. Pure.

export interface Page<Row> {
  readonly nodes: readonly Row[];
  readonly pageInfo: { readonly hasNextPage: boolean; readonly endCursor: string | null };
}

export interface Listed<Row> {
  readonly rows: readonly Row[];
  /** Where the next page begins. */
  readonly endCursor: string | null;
  readonly hasNext: boolean;
}

export const EMPTY: Listed<never> = { rows: [], endCursor: null, hasNext: false };

interface Thing {
  readonly id: string;
}

export function ofPage<Row>(page: Page<Row>): Listed<Row> {
  return { rows: page.nodes, endCursor: page.pageInfo.endCursor, hasNext: page.pageInfo.hasNextPage };
}

/** The first page was asked again: it goes over the head of the list, and what is loaded behind it stays where the two
 * meet. When they do not meet, too much is new: the list begins anew. `canGrow`: rows may have come in at the end too. */
export function withHead<Row extends Thing>(list: Listed<Row>, page: Page<Row>, canGrow: boolean): Listed<Row> {
  const last = page.nodes.at(-1);
  const meets = last ? list.rows.findIndex((row) => row.id === last.id) : -1;
  if (!page.pageInfo.hasNextPage || meets < 0 || meets === list.rows.length - 1) return ofPage(page);
  const known = new Set(page.nodes.map((row) => row.id));
  const rest = list.rows.slice(meets + 1).filter((row) => !known.has(row.id));
  return { rows: [...page.nodes, ...rest], endCursor: list.endCursor, hasNext: list.hasNext || canGrow };
}

export function withNext<Row extends Thing>(list: Listed<Row>, page: Page<Row>): Listed<Row> {
  const known = new Set(list.rows.map((row) => row.id));
  const rows = [...list.rows, ...page.nodes.filter((row) => !known.has(row.id))];
  return { rows, endCursor: page.pageInfo.endCursor ?? list.endCursor, hasNext: page.pageInfo.hasNextPage };
}
