// Owns what a position in a log says. To other programs a LogCursor is opaque; this page comes out of the same binary as
// the daemon, so it may know that `12.500` stands behind 500 lines of attempt_12. That makes any line one question away.
import type { LogCursor } from '$lib/api/graphql';

/** How many lines lie before the position, those that were not kept included. */
export function linesBefore(cursor: LogCursor): number {
  const line = Number(cursor.slice(cursor.indexOf('.') + 1));
  return Number.isSafeInteger(line) && line >= 0 ? line : 0;
}

/** The position behind so many lines of an attempt. */
export function positionBehind(attemptId: string, lines: number): LogCursor {
  return `${attemptId.replace(/^attempt_/, '')}.${String(lines)}` as LogCursor;
}
