// Owns when the list of incidents changes its order: rows that somebody reads do not move under them. Pure.

export interface Standing {
  /** The order in which the rows are shown. */
  readonly shown: readonly string[];
  /** Ids that came since, and wait to be shown. */
  readonly news: readonly string[];
}

/** The ids of the pages that are here. */
export interface Told {
  /** The first page, which lives. */
  readonly first: readonly string[];
  /** What was brought behind it. */
  readonly behind: readonly string[];
}

/**
 * The list after an answer. At its top it is as the pages say; further down it stays, counts what came in at the top
 * and goes on below.
 */
export function settle(before: readonly string[] | null, { first, behind }: Told, isAtTop: boolean): Standing {
  if (before === null || isAtTop) return { shown: [...first, ...behind], news: [] };
  const known = new Set(before);
  const isNew = (id: string) => !known.has(id);
  return { shown: [...before, ...behind.filter(isNew)], news: first.filter(isNew) };
}
