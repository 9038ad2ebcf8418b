// Owns how the pages of a list become one list: a new first page over what is loaded, and a next page behind it. Pure.

export interface Page<Row> {
  readonly nodes: readonly Row[];
  readonly pageInfo: { readonly hasNextPage: boolean; readonly endCursor: string | null };
  /** How far it came when it ended before it was full: enough jobs were looked at. */
  readonly searchedUntil: string | null;
}

export interface Listed<Row> {
  readonly rows: readonly Row[];
  /** Where the next page begins. */
  readonly endCursor: string | null;
  readonly hasNext: boolean;
  /** What lies behind it was not looked at yet; null when the list goes on by itself or has ended. */
  readonly searchedUntil: string | null;
}

export const EMPTY: Listed<never> = { rows: [], endCursor: null, hasNext: false, searchedUntil: null };

interface Thing {
  readonly id: string;
}

export function ofPage<Row>(page: Page<Row>): Listed<Row> {
  const { endCursor, hasNextPage: hasNext } = page.pageInfo;
  return { rows: page.nodes, endCursor, hasNext, searchedUntil: page.searchedUntil };
}

/** The first page was asked again: it goes over the head of the list, and what is loaded behind it stays where the two
 * meet. When they do not meet, too much is new: the list begins anew. `canGrow`: rows may have come in at the end too. */
export function withHead<Row extends Thing>(list: Listed<Row>, page: Page<Row>, canGrow: boolean): Listed<Row> {
  const known = new Set(page.nodes.map((row) => row.id));
  const last = page.nodes.at(-1);
  const meets = last ? list.rows.findIndex((row) => row.id === last.id) : -1;
  // It ended early, so nothing says that what was found behind it is gone.
  if (page.searchedUntil !== null && list.endCursor !== null) {
    const found = list.rows.slice(meets + 1).filter((row) => !known.has(row.id));
    return { ...list, rows: [...page.nodes, ...found] };
  }
  if (!page.pageInfo.hasNextPage || meets < 0 || meets === list.rows.length - 1) return ofPage(page);
  const rest = list.rows.slice(meets + 1).filter((row) => !known.has(row.id));
  return { ...list, rows: [...page.nodes, ...rest], hasNext: list.hasNext || canGrow };
}

/** As `withNext`, of a page that was asked for behind `after`; null when the list ends elsewhere by now, since what lies
 * between would be missing. */
export function withNextBehind<Row extends Thing>(
  list: Listed<Row>,
  after: string | null,
  page: Page<Row>,
): Listed<Row> | null {
  return list.endCursor === after ? withNext(list, page) : null;
}

export function withNext<Row extends Thing>(list: Listed<Row>, page: Page<Row>): Listed<Row> {
  const known = new Set(list.rows.map((row) => row.id));
  const rows = [...list.rows, ...page.nodes.filter((row) => !known.has(row.id))];
  return { ...ofPage(page), rows, endCursor: page.pageInfo.endCursor ?? list.endCursor };
}
