// Owns the questions where something stands in a log: the next line with a text, the first that looks like an error, and
// the line that the daemon named as the failure. They throw when the daemon does not answer: that is no "nowhere".
import { live } from '$lib/live/live.svelte';
import { endDocument, pageDocument } from './documents';
import { linesBefore, positionBehind } from './position';

/** Words by which a line looks like an error, in any case. */
const ERROR_WORDS = ['error', 'fatal', 'panic', 'exception', 'traceback', 'failed'];
/** The daemon takes no longer texts. */
const GREP_BYTES_MAX = 200;

/** The number of the next line behind `lines` lines that holds the text; null when there is none before `until()`. */
export async function nextLine(
  attemptId: string,
  lines: number,
  grep: string,
  until: () => number = () => Infinity,
): Promise<number | null> {
  let after = positionBehind(attemptId, lines);
  for (;;) {
    const variables = { attempt: attemptId, first: 1, after, streams: null, grep };
    const { data, problem } = await live.once(pageDocument, variables);
    if (problem) throw new Error(problem.message);
    const log = data?.node?.__typename === 'Attempt' ? data.node.log : null;
    const [found] = log?.lines ?? [];
    if (found) return linesBefore(found.cursor) - 1;
    if (!log?.hasMore || linesBefore(log.cursor) >= until()) return null;
    after = log.cursor;
  }
}

/** The number of the first line that looks like an error; null when there is none. */
export async function firstError(attemptId: string): Promise<number | null> {
  // What one word has found, the others need not look behind.
  let best = Infinity;
  const look = async (word: string) => {
    const line = await nextLine(attemptId, 0, word, () => best);
    if (line !== null) best = Math.min(best, line);
  };
  await Promise.all(ERROR_WORDS.map(look));
  return best === Infinity ? null : best;
}

/** The number of the last line that holds the failure's error line; null when it was not kept. */
export async function lineOfFailure(attemptId: string, errorLine: string): Promise<number | null> {
  const grep = cut(errorLine);
  if (grep === '') return null;
  const { data, problem } = await live.once(endDocument, { attempt: attemptId, last: 1, grep });
  if (problem) throw new Error(problem.message);
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
