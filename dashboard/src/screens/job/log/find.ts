// Owns the questions where something stands in a log: the lines with a text before and behind a line, the first line
// that looks like an error, and the one that the daemon named as the failure. They throw when the daemon does not answer: that is no "nowhere".
import type { LogCursor } from '$lib/api/graphql';
import { live } from '$lib/live/live.svelte';
import { endDocument, pageDocument } from './documents';
import { linesBefore, positionBehind } from './position';
import { asked, type Wanted } from './source';

/** The daemon takes no longer texts. */
const GREP_BYTES_MAX = 200;

/** The number of the next line behind `lines` lines that is wanted; null when there is none. */
async function next(attemptId: string, lines: number, wanted: Wanted): Promise<number | null> {
  let after = positionBehind(attemptId, lines);
  for (;;) {
    const { data, problem } = await live.once(pageDocument, { attempt: attemptId, first: 1, after, ...asked(wanted) });
    if (problem) throw new Error(problem.message);
    const log = data?.node?.__typename === 'Attempt' ? data.node.log : null;
    const [found] = log?.lines ?? [];
    if (found) return linesBefore(found.cursor) - 1;
    if (!log?.hasMore) return null;
    // Enough was looked at for one answer.
    after = log.cursor;
  }
}

/** The number of the first line that looks like an error to the daemon; null when there is none. */
export function firstError(attemptId: string): Promise<number | null> {
  return next(attemptId, 0, { streams: [], grep: '', onlyErrors: true });
}

/** The number of the next line behind `lines` lines that holds the text; null when there is none. */
export function nextLine(attemptId: string, lines: number, grep: string): Promise<number | null> {
  return next(attemptId, lines, { streams: [], grep, onlyErrors: false });
}

/** The number of the line that holds the text next before the line; null when there is none. */
export function lineBefore(attemptId: string, line: number, grep: string): Promise<number | null> {
  return last(attemptId, positionBehind(attemptId, line + 1), grep);
}

/** The number of the last line that holds the text, of those before a position if there is one. */
async function last(attemptId: string, before: LogCursor | null, grep: string): Promise<number | null> {
  const { data, problem } = await live.once(endDocument, { attempt: attemptId, last: 1, before, grep });
  if (problem) throw new Error(problem.message);
  const [found] = data?.node?.__typename === 'Attempt' ? data.node.log.lines : [];
  return found ? linesBefore(found.cursor) - 1 : null;
}

/** The number of the last line that holds the failure's error line; null when it was not kept. */
export async function lineOfFailure(attemptId: string, errorLine: string): Promise<number | null> {
  const grep = cut(errorLine);
  return grep === '' ? null : last(attemptId, null, grep);
}

/** A text that the daemon takes as `grep`. */
export function cut(text: string): string {
  const encoder = new TextEncoder();
  let short = text.slice(0, GREP_BYTES_MAX);
  while (encoder.encode(short).length > GREP_BYTES_MAX) short = short.slice(0, -1);
  return short;
}
