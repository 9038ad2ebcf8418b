// Owns the questions where something stands in a log: the next line with a text, the first that looks like an error, and
// the line that the daemon named as the failure.
import { live } from '$lib/live/live.svelte';
import { endDocument, pageDocument } from './documents';
import { linesBefore, positionBehind } from './position';

/** Words by which a line looks like an error, in any case. */
const ERROR_WORDS = ['error', 'fatal', 'panic', 'exception', 'traceback', 'failed'];
/** The daemon takes no longer texts. */
const GREP_BYTES_MAX = 200;

/** The number of the next line behind `lines` lines that holds the text; null when there is none. */
export async function nextLine(attemptId: string, lines: number, grep: string): Promise<number | null> {
  let after = positionBehind(attemptId, lines);
  for (;;) {
    const { data } = await live.once(pageDocument, { attempt: attemptId, first: 1, after, streams: null, grep });
    const log = data?.node?.__typename === 'Attempt' ? data.node.log : null;
    const [found] = log?.lines ?? [];
    if (found) return linesBefore(found.cursor) - 1;
    if (!log?.hasMore) return null;
    after = log.cursor;
  }
}

/** The number of the first line that looks like an error; null when there is none. */
export async function firstError(attemptId: string): Promise<number | null> {
  const found = await Promise.all(ERROR_WORDS.map((word) => nextLine(attemptId, 0, word)));
  const lines = found.filter((line) => line !== null);
  return lines.length === 0 ? null : Math.min(...lines);
}

/** The number of the last line that holds the failure's error line; null when it was not kept. */
export async function lineOfFailure(attemptId: string, errorLine: string): Promise<number | null> {
  const grep = cut(errorLine);
  if (grep === '') return null;
  const { data } = await live.once(endDocument, { attempt: attemptId, last: 1, grep });
  const [found] = data?.node?.__typename === 'Attempt' ? data.node.log.lines : [];
  return found ? linesBefore(found.cursor) - 1 : null;
}

/** A text that the daemon takes as `grep`. */
export function cut(text: string): string {
  const encoder = new TextEncoder();
  let short = text.slice(0, GREP_BYTES_MAX);
  while (encoder.encode(short).length > GREP_BYTES_MAX) short = short.slice(0, -1);
  return short;
}
