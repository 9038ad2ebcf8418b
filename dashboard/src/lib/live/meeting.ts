// Owns where the rows go that a living first page loses to others above them, while pages behind it are shown. Pure.

/** Ids by page: the first one as it was and as it is, and what was brought behind it. */
export interface Pages {
  readonly before: readonly string[];
  readonly now: readonly string[];
  readonly behind: readonly string[];
}

/**
 * The ids that stand at the head of what is behind the first page now. null: so much came in that nobody knows what
 * lies between the pages.
 */
export function pushedOut({ before, now, behind }: Pages): readonly string[] | null {
  const last = now.at(-1);
  // Rows left it, and it reaches into what was behind it.
  if (last === undefined || behind.includes(last)) return [];
  const here = new Set(now);
  const end = [...now].reverse().find((id) => before.includes(id));
  if (end === undefined) return before.length === 0 ? [] : null;
  return before.slice(before.indexOf(end) + 1).filter((id) => !here.has(id));
}
