// Owns the charts' minutes: what is known of each of the last sixty, what is still to be asked, and the lines drawn of
// them. Pure: it knows no clock and no socket. A minute is named by its number since 1970.
import type { AllCounts, EndedCounts, EndedSample } from './documents';

export const MINUTE_MS = 60_000;
/** Minutes that are shown. */
export const SHOWN = 60;

export interface Minute {
  readonly succeeded: number;
  readonly failed: number;
  /** Stopped, expired or left out. */
  readonly other: number;
  readonly created: number;
  /** Of the newest jobs that ended in it, ms from the time they could have started. */
  readonly waits: readonly number[];
  /** Of the same jobs, ms from their first start to their end. */
  readonly runs: readonly number[];
  /** Whether it was over when it was asked: then it will not change. */
  readonly isOver: boolean;
}

export const numberOf = (ms: number): number => Math.floor(ms / MINUTE_MS);
export const startOf = (minute: number): string => new Date(minute * MINUTE_MS).toISOString();

export function minuteOf(ended: EndedCounts, made: AllCounts, sample: EndedSample, isOver: boolean): Minute {
  const waits: number[] = [];
  const runs: number[] = [];
  for (const { runAt, startedAt, finishedAt } of sample.nodes) {
    if (startedAt === null || finishedAt === null) continue;
    const start = Date.parse(startedAt);
    runs.push(Math.max(0, Date.parse(finishedAt) - start));
    // A later try moves `runAt` behind the first start: how long that job waited is not known any more.
    const wait = start - Date.parse(runAt);
    if (wait >= 0) waits.push(wait);
  }
  return {
    succeeded: ended.succeeded,
    failed: ended.failed,
    other: ended.cancelled + ended.expired + ended.skipped,
    created: Object.values(made).reduce<number>((sum, each) => sum + (typeof each === 'number' ? each : 0), 0),
    waits,
    runs,
    isOver,
  };
}

export class Minutes {
  #known = new Map<number, Minute>();

  get(minute: number): Minute | undefined {
    return this.#known.get(minute);
  }

  /** Takes over what was asked; an answer of a minute that was over is never replaced by an older one. */
  note(minute: number, data: Minute): void {
    if (!data.isOver && this.#known.get(minute)?.isOver) return;
    this.#known.set(minute, data);
    for (const each of this.#known.keys()) if (each < minute - 2 * SHOWN) this.#known.delete(each);
  }

  /** Minutes before the two that run that must still be asked, the newest first. */
  missing(current: number): number[] {
    const found: number[] = [];
    for (let minute = current - 2; minute > current - SHOWN; minute -= 1) {
      if (!this.#known.get(minute)?.isOver) found.push(minute);
    }
    return found;
  }
}

export interface Lines {
  /** Seconds since 1970. */
  readonly times: number[];
  readonly succeeded: (number | null)[];
  readonly failed: (number | null)[];
  readonly other: (number | null)[];
  /** Jobs that were not final at the end of the minute. */
  readonly unfinished: (number | null)[];
  readonly waitMedian: (number | null)[];
  readonly waitMost: (number | null)[];
  readonly runMedian: (number | null)[];
  readonly runMost: (number | null)[];
}

/**
 * The lines up to the minute `current`. `asked` is the newest minute of which something was asked: as long as the feed
 * is quiet (`isQuiet`) nothing happened in the minutes behind it. `unfinished` is the count now.
 */
export function linesOf(
  minutes: Minutes,
  current: number,
  asked: number,
  isQuiet: boolean,
  unfinished: number | null,
): Lines {
  const lines: Lines = {
    times: [],
    succeeded: [],
    failed: [],
    other: [],
    unfinished: [],
    waitMedian: [],
    waitMost: [],
    runMedian: [],
    runMost: [],
  };
  let left = unfinished;
  for (let minute = current; minute > current - SHOWN; minute -= 1) {
    const known = minutes.get(minute) ?? (minute > asked && isQuiet ? NOTHING : undefined);
    lines.times.unshift((minute * MINUTE_MS) / 1_000);
    lines.succeeded.unshift(known?.succeeded ?? null);
    lines.failed.unshift(known?.failed ?? null);
    lines.other.unshift(known?.other ?? null);
    lines.waitMedian.unshift(share(known?.waits, 0.5));
    lines.waitMost.unshift(share(known?.waits, 0.95));
    lines.runMedian.unshift(share(known?.runs, 0.5));
    lines.runMost.unshift(share(known?.runs, 0.95));
    lines.unfinished.unshift(left);
    // Backwards: before this minute those that it made were not there, and those that ended in it were.
    if (left !== null) {
      left = known ? Math.max(0, left - known.created + known.succeeded + known.failed + known.other) : null;
    }
  }
  return lines;
}

const NOTHING: Minute = { succeeded: 0, failed: 0, other: 0, created: 0, waits: [], runs: [], isOver: false };

/** The value below which such a share of the values lies (nearest rank); null without values. */
export function share(values: readonly number[] | undefined, part: number): number | null {
  if (!values || values.length === 0) return null;
  const sorted = [...values].sort((left, right) => left - right);
  return sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)] ?? null;
}
