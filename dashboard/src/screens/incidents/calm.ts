// Owns when the list of incidents changes its order: rows that somebody reads do not move under them. Pure.

export interface Standing {
  /** The order in which the rows are shown. */
  readonly shown: readonly string[];
  /** Ids that came since, and wait to be shown. */
  readonly news: readonly string[];
}

/** The list after an answer. At its top it is as the answer says; further down it stays and counts what is new. */
export function settle(before: readonly string[] | null, answer: readonly string[], isAtTop: boolean): Standing {
  if (before === null || isAtTop) return { shown: answer, news: [] };
  const known = new Set(before);
  return { shown: before, news: answer.filter((id) => !known.has(id)) };
}
