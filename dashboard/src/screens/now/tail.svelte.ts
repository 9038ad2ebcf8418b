// Owns the last line of a running job's output. Lines are not in the feed, so each row listens for its own: it shows
// the next batch, stops to listen for a rest, asks for the newest line and listens again behind it. A job that floods
// its log costs the page one batch and one question a second.
import Anser from 'anser';
import type { LogCursor } from '$lib/api/graphql';
import { comesAgain } from '$lib/api/problem';
import { follow } from '$lib/api/socket';
import { live } from '$lib/live/live.svelte';
import { linesDocument, tailDocument, type RunningJob } from './documents';

const REST_MS = 1_000;

type Lines = NonNullable<RunningJob['tail']>['lines'];

export class Tail {
  text = $state('');
  readonly #id: string;
  #cursor: LogCursor;
  #stop: (() => void) | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isOver = false;

  constructor(job: RunningJob) {
    this.#id = job.id;
    this.#cursor = job.tail.cursor;
    this.#show(job.tail.lines);
  }

  listen(): void {
    this.#stop = follow(linesDocument, {
      variables: () => ({ id: this.#id, after: this.#cursor }),
      next: ({ jobLog }) => {
        this.#cursor = jobLog.cursor;
        if (jobLog.lines.length === 0) return;
        this.#show(jobLog.lines);
        this.#rest();
      },
      refused: (problem) => (comesAgain(problem) ? 'again' : 'stop'),
    });
  }

  close(): void {
    this.#isOver = true;
    this.#stop?.();
    clearTimeout(this.#timer);
    document.removeEventListener('visibilitychange', this.#catchUp);
  }

  #rest(): void {
    this.#stop?.();
    this.#timer = setTimeout(this.#catchUp, REST_MS);
  }

  #catchUp = (): void => {
    document.removeEventListener('visibilitychange', this.#catchUp);
    if (document.visibilityState === 'visible') void this.#askNewest();
    else document.addEventListener('visibilitychange', this.#catchUp);
  };

  async #askNewest(): Promise<void> {
    const { data } = await live.once(tailDocument, { id: this.#id });
    if (this.#isOver) return;
    if (data?.job) {
      this.#cursor = data.job.tail.cursor;
      this.#show(data.job.tail.lines);
    }
    this.listen();
  }

  #show(lines: Lines): void {
    const last = lines.map((line) => lastSeen(line.text)).findLast((text) => text !== '');
    if (last !== undefined) this.text = last;
  }
}

/** What stands on a terminal at the end of a line: without colours, and behind the last return to its beginning. */
export function lastSeen(text: string): string {
  const parts = Anser.ansiToText(text).split('\r');
  return (parts.findLast((part) => part.trim() !== '') ?? '').trim();
}
