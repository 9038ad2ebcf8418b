// Owns what a list of log rows is to the view that draws it: so many rows, of which some are at hand.
import type { ResultOf } from '$lib/api/graphql';
import type { logBatch } from './documents';
import type { Gap } from './gaps';

export type Stream = ResultOf<typeof logBatch>['lines'][number]['stream'];

/** Which lines are wanted; without anything all of them. */
export interface Wanted {
  readonly streams: readonly Stream[];
  /** Holding this text; empty: whatever they hold. */
  readonly grep: string;
  readonly onlyErrors: boolean;
}

/** The same as arguments of a question. */
export const asked = ({ streams, grep, onlyErrors }: Wanted) => ({
  streams: streams.length > 0 ? [...streams] : null,
  grep: grep || null,
  onlyErrors: onlyErrors || null,
});
export const EVERYTHING = asked({ streams: [], grep: '', onlyErrors: false });

export interface Line {
  readonly kind: 'line';
  /** Counts from 0 within the attempt. */
  readonly number: number;
  readonly at: string;
  readonly stream: Stream;
  readonly text: string;
  /** Looks of the terminal that are on before it. */
  readonly carry: string;
  /** The line goes on in the next piece. */
  readonly isTruncated: boolean;
}
export type Row = Line | ({ readonly kind: 'gap' } & Gap);

export interface Source {
  /** How many rows there are now; reactive. */
  readonly count: number;
  /** A row; null until it is at hand; reactive. */
  row(index: number): Row | null;
  /** These rows are seen: bring them. */
  want(from: number, to: number): void;
  rowOf(line: number): number;
  lineOf(row: number): number;
}
