// Owns the time of the page: one clock that ticks once a second, by the daemon's time. The offset is known as an
// interval, from HTTP dates (to a second) and from events (never of the future); while the page's own clock lies in
// it, that is taken as right.
export class Offset {
  #low = -Infinity;
  #high = Infinity;

  /** The daemon's time minus the page's. */
  get ms(): number {
    if (this.#low > 0) return this.#low;
    return this.#high < 0 ? this.#high : 0;
  }

  /** An HTTP date: the daemon's clock stood within this second, somewhere between question and answer. */
  date(date: Date, sentAt: number, answeredAt: number): void {
    const time = date.getTime();
    if (Number.isNaN(time)) return;
    this.#narrow(time - answeredAt, time + 1_000 - sentAt);
  }

  /** Something that happened at this time has just been told. */
  event(at: string, now: number): void {
    const time = Date.parse(at);
    if (!Number.isNaN(time)) this.#narrow(time - now, Infinity);
  }

  #narrow(low: number, high: number): void {
    const [nextLow, nextHigh] = [Math.max(this.#low, low), Math.min(this.#high, high)];
    // One of the clocks was set: what is new counts.
    [this.#low, this.#high] = nextLow <= nextHigh ? [nextLow, nextHigh] : [low, high];
  }
}

class Clock {
  /** The daemon's time in ms; changes once a second, so what shows it is drawn together. */
  now = $state.raw(Date.now());
  readonly offset = new Offset();

  /** The daemon's time at this very moment; for work, not for drawing. */
  exact(): number {
    return Date.now() + this.offset.ms;
  }

  /** Starts to tick, on whole seconds of the daemon. Call once. */
  start(): void {
    this.now = this.exact();
    setTimeout(
      () => {
        this.start();
      },
      1_000 - (this.now % 1_000),
    );
  }
}

export const clock = new Clock();
