// Owns the sentence at the head of Now: is it fine, what runs, what waits and why, what comes next, what failed. Pure.
import type { HealthStatus } from '$lib/api/graphql';
import { count, counted, list, relative } from '$lib/format';
import { href } from '$lib/router.svelte';
import type { NowIncident, NowQueue, NowWorker } from './documents';
import type { Word } from './reason';

export interface Facts {
  readonly now: number;
  readonly running: number;
  /** Jobs that wait for something else than their time. */
  readonly waiting: number;
  readonly queues: readonly NowQueue[];
  readonly workers: readonly NowWorker[];
  readonly next: { readonly name: string; readonly at: number; readonly href: string } | null;
  readonly incidents: readonly Pick<NowIncident, 'status'>[];
  readonly hasMoreIncidents: boolean;
  readonly parts: readonly { readonly name: string; readonly status: HealthStatus }[];
}

/** Names that are said before the rest is only counted. */
const NAMED = 3;

export function sentenceOf(facts: Facts): Word[] {
  const { running, waiting, next, now } = facts;
  const words: Word[] = [...healthWords(facts)];
  if (running === 0 && waiting === 0) words.push({ text: 'Nothing runs and nothing waits' });
  else {
    words.push({ text: count(running), isStrong: true }, { text: ' running, ' });
    words.push({ text: count(waiting), isStrong: true }, { text: ' waiting' });
    if (waiting > 0) words.push({ text: whyWords(facts) });
  }
  if (next) {
    words.push({ text: ', next: ' }, { text: next.name, href: next.href });
    words.push({ text: next.at - now <= 1_000 ? ' now' : ` ${relative(next.at, now)}` });
  }
  words.push(...incidentWords(facts), { text: '.' });
  return words;
}

function healthWords({ parts }: Facts): Word[] {
  const down = parts.filter((part) => part.status === 'DOWN').map((part) => part.name);
  const ill = parts.filter((part) => part.status === 'DEGRADED').map((part) => part.name);
  const words: Word[] = [];
  if (down.length > 0) words.push({ text: `${some(down)} ${is(down)} down`, href: href('system'), isStrong: true });
  if (down.length > 0 && ill.length > 0) words.push({ text: ', ' });
  if (ill.length > 0) words.push({ text: `${some(ill)} ${is(ill)} degraded`, href: href('system'), isStrong: true });
  return words.length > 0 ? [...words, { text: '. ' }] : [];
}

/** Queues that hold their jobs back, else that every place is taken. */
function whyWords({ queues, workers }: Facts): string {
  const holding = queues.filter((queue) => queue.waitingCount > 0);
  const paused = holding.filter((queue) => queue.isPaused).map((queue) => queue.name);
  const full = holding
    .filter((queue) => !queue.isPaused && queue.concurrencyLimit !== null)
    .filter((queue) => queue.runningCount >= (queue.concurrencyLimit ?? Infinity))
    .map((queue) => queue.name);
  const reasons: string[] = [];
  if (full.length > 0) reasons.push(`${some(full)} ${is(full)} full`);
  if (paused.length > 0) reasons.push(`${some(paused)} ${is(paused)} paused`);
  if (reasons.length === 0) {
    const online = workers.filter((worker) => worker.status === 'ONLINE');
    const slots = online.reduce((sum, worker) => sum + worker.slots, 0);
    const busy = online.reduce((sum, worker) => sum + worker.busySlots, 0);
    if (workers.length > 0 && online.length === 0) reasons.push('no worker takes jobs');
    else if (slots > 0 && busy >= slots) reasons.push(`all ${counted(slots, 'slot')} are busy`);
  }
  return reasons.length > 0 ? ` because ${reasons.join(' and ')}` : '';
}

function incidentWords({ incidents, hasMoreIncidents }: Facts): Word[] {
  const fresh = incidents.filter((incident) => incident.status === 'OPEN').length;
  if (fresh > 0) {
    const text = hasMoreIncidents ? `${count(fresh)} or more open incidents` : counted(fresh, 'open incident');
    return [{ text: ', ' }, { text, href: href('incidents'), isStrong: true }];
  }
  return incidents.length > 0 ? [{ text: `, ${counted(incidents.length, 'incident')} in good hands` }] : [];
}

function some(names: readonly string[]): string {
  if (names.length <= NAMED) return list(names);
  return list([...names.slice(0, NAMED - 1), `${count(names.length - NAMED + 1)} more`]);
}
const is = (names: readonly string[]) => (names.length === 1 ? 'is' : 'are');
