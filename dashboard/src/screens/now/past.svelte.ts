// Owns the asking for the charts: the two newest minutes come with the screen's own question, those before them are
// asked for once, six at a time, the newest first. A minute that is over is never asked for again.
import { clock } from '$lib/live/clock.svelte';
import { live } from '$lib/live/live.svelte';
import { CHUNK, pastDocument, type AllCounts, type EndedCounts, type EndedSample } from './documents';
import { Minutes, minuteOf, numberOf, startOf } from './minutes';

interface Pair {
  readonly e0: EndedCounts;
  readonly c0: AllCounts;
  readonly s0: EndedSample;
  readonly e1: EndedCounts;
  readonly c1: AllCounts;
  readonly s1: EndedSample;
}

export class Past {
  readonly minutes = new Minutes();
  /** Changes with each answer. */
  version = $state.raw(0);
  /** The newest minute that was asked for. */
  asked = $state.raw(0);
  #isAsking = false;
  #isOver = false;

  /** The screen's answer about the minute before `current` and the one that ran then. */
  take(current: number, answer: Pair): void {
    this.minutes.note(current - 1, minuteOf(answer.e0, answer.c0, answer.s0, true));
    // The daemon may have come to the next minute in between; that one is asked for again.
    this.minutes.note(current, minuteOf(answer.e1, answer.c1, answer.s1, false));
    this.asked = Math.max(this.asked, current);
    this.version += 1;
    void this.fill();
  }

  close(): void {
    this.#isOver = true;
  }

  /** Asks for what is missing before the two newest minutes. */
  async fill(): Promise<void> {
    if (this.#isAsking) return;
    this.#isAsking = true;
    try {
      for (;;) {
        const missing = this.minutes.missing(numberOf(clock.exact()));
        const newest = missing[0];
        if (newest === undefined || this.#isOver) return;
        if (!(await this.#ask(newest - CHUNK + 1))) return;
      }
    } finally {
      this.#isAsking = false;
    }
  }

  async #ask(first: number): Promise<boolean> {
    const { data } = await live.once(pastDocument, {
      t0: startOf(first),
      t1: startOf(first + 1),
      t2: startOf(first + 2),
      t3: startOf(first + 3),
      t4: startOf(first + 4),
      t5: startOf(first + 5),
      t6: startOf(first + 6),
    });
    if (data === null) return false;
    const ended = [data.e0, data.e1, data.e2, data.e3, data.e4, data.e5];
    const made = [data.c0, data.c1, data.c2, data.c3, data.c4, data.c5];
    const samples = [data.s0, data.s1, data.s2, data.s3, data.s4, data.s5];
    ended.forEach((counts, index) => {
      const [created, sample] = [made[index], samples[index]];
      if (created && sample) this.minutes.note(first + index, minuteOf(counts, created, sample, true));
    });
    this.version += 1;
    return true;
  }
}
