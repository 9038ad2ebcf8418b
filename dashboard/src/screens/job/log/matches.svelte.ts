// Owns the lines that a search, a stream or the look for errors takes: found by the daemon from the beginning on, page
// by page, and live at the end. After a problem it stands still until `again`. It must never hold more than MATCHES_MAX.
import { follow } from '$lib/api/socket';
import type { LogCursor } from '$lib/api/graphql';
import { comesAgain, unanswered, type Problem } from '$lib/api/problem';
import { live } from '$lib/live/live.svelte';
import { carryBehind } from './ansi';
import { NO_ATTEMPT, pageDocument, tailDocument, type LogBatch } from './documents';
import type { LogOf } from './lines.svelte';
import { linesBefore } from './position';
import { asked, type Line, type Row, type Source, type Stream, type Wanted } from './source';

/** Matching lines that are kept at most. */
export const MATCHES_MAX = 20_000;
/** Matching lines that are looked for without being asked for. */
const AHEAD = 1_000;
const PAGE = 1_000;
const STUCK = 'The daemon did not come further in this log.';

export class Matches implements Source {
  rows = $state.raw<readonly Line[]>([]);
  isSearching = $state.raw(true);
  /** Everything that was written so far has been looked at; what comes is told. */
  isAtEnd = $state.raw(false);
  /** Everything was looked at. */
  isComplete = $state.raw(false);
  problem = $state.raw<Problem | null>(null);
  #cursor: LogCursor | null = null;
  #wanted = AHEAD;
  /** The last row that is seen. */
  #seen = 0;
  #carries = new Map<Stream, string>();
  #isClosed = false;
  #stop: (() => void) | null = null;

  constructor(
    readonly of: LogOf,
    readonly wanted: Wanted,
  ) {}

  open(): void {
    void this.#search();
  }

  close(): void {
    this.#isClosed = true;
    this.#stop?.();
  }

  get count(): number {
    return this.rows.length;
  }

  row(index: number): Row | null {
    return this.rows[index] ?? null;
  }

  want(_from: number, to: number): void {
    this.#seen = to;
    this.#further();
  }

  /** Asks again after a problem. */
  again(): void {
    if (this.#isClosed || this.isSearching || this.problem === null) return;
    if (!this.isAtEnd) void this.#search();
    else {
      this.problem = null;
      this.#follow();
    }
  }

  /** Looks for more when the rows that are seen come near the end of those that are here. */
  #further(): void {
    if (this.#isClosed || this.isSearching || this.problem !== null || this.isAtEnd) return;
    if (this.rows.length >= MATCHES_MAX || this.#seen < this.rows.length - AHEAD / 2) return;
    this.#wanted = this.rows.length + AHEAD;
    void this.#search();
  }

  rowOf(line: number): number {
    let [low, high] = [0, this.rows.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.rows[middle]?.number ?? 0) < line) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  lineOf(row: number): number {
    return this.rows[row]?.number ?? 0;
  }

  async #search(): Promise<void> {
    this.isSearching = true;
    while (this.rows.length < Math.min(this.#wanted, MATCHES_MAX)) {
      const variables = { attempt: this.of.attemptId, first: PAGE, after: this.#cursor, ...asked(this.wanted) };
      const { data, problem } = await live.once(pageDocument, variables);
      if (this.#isClosed) return;
      const log = data?.node?.__typename === 'Attempt' ? data.node.log : null;
      this.problem = log ? null : (problem ?? unanswered(NO_ATTEMPT));
      if (!log) break;
      // From here it would ask the same for ever.
      if (log.hasMore && log.cursor === this.#cursor) this.problem = unanswered(STUCK);
      this.#take(log);
      if (this.problem !== null) break;
      if (log.hasMore) continue;
      this.isAtEnd = true;
      if (log.isComplete) this.isComplete = true;
      else this.#follow();
      break;
    }
    this.isSearching = false;
    this.#further();
  }

  #take(log: LogBatch): void {
    this.#cursor = log.cursor;
    if (log.lines.length === 0) return;
    const isOfWholeStreams = this.wanted.grep === '' && !this.wanted.onlyErrors;
    const more = log.lines.map((line): Line => {
      const carry = this.#carries.get(line.stream) ?? '';
      // Between matches of a search lie lines that were not seen: their looks are not known.
      this.#carries.set(line.stream, isOfWholeStreams ? carryBehind(carry, line.text) : '');
      const { at, stream, text, isTruncated } = line;
      return { kind: 'line', number: linesBefore(line.cursor) - 1, at, stream, text, carry, isTruncated };
    });
    this.rows = [...this.rows, ...more].slice(0, MATCHES_MAX);
  }

  #follow(): void {
    this.#stop = follow(tailDocument, {
      variables: () => ({ job: this.of.jobId, attempt: this.of.number, after: this.#cursor, ...asked(this.wanted) }),
      next: ({ jobLog }) => {
        this.#take(jobLog);
      },
      refused: (problem) => {
        if (comesAgain(problem)) return 'again';
        this.problem = problem;
        return 'stop';
      },
      complete: () => {
        this.isComplete = true;
      },
    });
  }
}
