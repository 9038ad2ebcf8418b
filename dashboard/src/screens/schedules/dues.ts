// Owns what is known of a schedule's due times between two answers of the daemon: the next one, those to come, and how
// the ledger's pages fit together. Pure. The rule itself is the daemon's; an interval alone is counted on here, since
// it is exact. Skips after the first one of a run are not told in the feed, so the page must go on by itself.
import { absolute, counted, millisecondsOf } from '$lib/format';
import { dueMark, tickMark, type Mark } from '$lib/ui/strip';
import { href } from '$lib/router.svelte';
import type { TimingLike } from '$lib/timing';
import type { TickShown } from './documents';

/** A schedule that should have started something so long ago is late; before that its event is under way. */
export const LATE_MS = 5_000;

export interface Rule {
  readonly timing: TimingLike;
  readonly nextDueAt: string | null;
  readonly isPaused: boolean;
  readonly pausedUntil: string | null;
}

interface Coming {
  readonly at: string;
  readonly note?: string | null;
}

/** The due times behind `now`, as far as they are known: at most `most`. */
export function comingDues(rule: Rule, known: readonly Coming[], now: number, most: number): readonly Coming[] {
  const ahead = known.filter((due) => Date.parse(due.at) > now);
  const every = intervalOf(rule.timing);
  if (every === null || ahead.length >= most) return ahead.slice(0, most);
  const anchor = known.at(-1)?.at ?? rule.nextDueAt;
  if (anchor === null) return ahead;
  const more = [...ahead];
  const last = Date.parse(anchor);
  let next = last > now ? last : last + Math.floor((now - last) / every) * every;
  while (more.length < most) {
    next += every;
    more.push({ at: new Date(next).toISOString() });
  }
  return more;
}

function intervalOf(timing: TimingLike): number | null {
  const ms = timing.__typename === 'IntervalTiming' ? millisecondsOf(timing.every) : null;
  return ms === null || ms <= 0 ? null : ms;
}

/** When it is due next; null when nothing is known. */
export function nextDue(rule: Rule, known: readonly Coming[], now: number): number | null {
  const told = rule.nextDueAt === null ? null : Date.parse(rule.nextDueAt);
  if (told !== null && told > now) return told;
  const [first] = comingDues(rule, known, now, 1);
  return first ? Date.parse(first.at) : told;
}

/** Whether it is paused at this moment: a pause may end by itself without a word. */
export function isPausedAt(rule: Rule, now: number): boolean {
  return rule.isPaused && (rule.pausedUntil === null || Date.parse(rule.pausedUntil) > now);
}

/** Since when a due time has passed without a word of it; null when all is well. A run of skips goes on in silence. */
export function lateSince(rule: Rule, newest: TickShown | undefined, now: number): number | null {
  if (rule.isPaused || rule.nextDueAt === null || newest?.outcome === 'SKIPPED_OVERLAP') return null;
  const due = Date.parse(rule.nextDueAt);
  return now - due > LATE_MS ? due : null;
}

/** The ledger as marks, oldest first. */
export function pastMarks(ticks: readonly TickShown[], now: number): Mark[] {
  return ticks.map((tick) => tickMark(tick, now, tick.job ? href('job', { id: tick.job.id }) : undefined)).reverse();
}

/** What is to come as marks; those that a pause will skip are hollow. */
export function futureMarks(rule: Rule, coming: readonly Coming[]): Mark[] {
  const until = rule.pausedUntil === null ? Infinity : Date.parse(rule.pausedUntil);
  return coming.map((due) => {
    const mark = dueMark(due.at, due.note ?? null);
    if (!rule.isPaused || Date.parse(due.at) >= until) return mark;
    return { ...mark, shape: 'hollow', hue: 'wait', title: `${absolute(Date.parse(due.at))}, will be skipped: paused` };
  });
}

/** Whether a job of these ticks still runs, so that its bar grows. */
export function isUnderWay(ticks: readonly TickShown[]): boolean {
  return ticks.some((tick) => tick.job && tick.job.startedAt !== null && tick.job.finishedAt === null);
}

/** How many due times a row stands for. The newest row of skips grows in silence, so of that one the start is said. */
export function countWords(tick: TickShown, isNewest: boolean, rule: Rule, now: number): string | null {
  if (!isNewest || !isRolledUp(tick)) return tick.count > 1 ? counted(tick.count, 'due time') : null;
  const every = intervalOf(rule.timing);
  if (every === null) return tick.count > 1 ? `at least ${counted(tick.count, 'due time')}` : null;
  const first = Date.parse(tick.firstDueAt);
  // Ledger times are without jitter, the next due time is with it.
  const jitter = rule.nextDueAt === null ? 0 : (Date.parse(rule.nextDueAt) - first) % every;
  const passed = Math.floor((now - first - jitter) / every) + 1;
  return counted(Math.max(tick.count, passed), 'due time');
}

function isRolledUp(tick: TickShown): boolean {
  return tick.outcome === 'SKIPPED_OVERLAP' || tick.outcome === 'SKIPPED_PAUSED';
}

export interface LedgerRow {
  readonly cursor: string;
  readonly node: TickShown;
}

/** What names a row for good: a run of skips keeps its first due time while it grows. */
export const ledgerKey = (row: LedgerRow): string => row.node.firstDueAt;

/** A fresh first page before older rows. null when the two do not meet: what lies between is not known. */
export function mergeLedger(fresh: readonly LedgerRow[], older: readonly LedgerRow[]): readonly LedgerRow[] | null {
  if (older.length === 0) return fresh;
  const keys = new Set(fresh.map(ledgerKey));
  const meets = older.some((row) => keys.has(ledgerKey(row)));
  return meets ? [...fresh, ...older.filter((row) => !keys.has(ledgerKey(row)))] : null;
}
