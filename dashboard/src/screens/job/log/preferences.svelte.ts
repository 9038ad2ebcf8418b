// Owns how a person likes to read logs: with times, with wrapped lines. Kept in localStorage, the same for every job.
const KEY = 'beadle.log';

function kept(): { time?: boolean; wrap?: boolean } {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? '{}') as { time?: boolean; wrap?: boolean };
  } catch {
    return {};
  }
}

class Preferences {
  #time = $state.raw(kept().time ?? false);
  #wrap = $state.raw(kept().wrap ?? false);

  get time(): boolean {
    return this.#time;
  }
  set time(value: boolean) {
    this.#time = value;
    this.#keep();
  }
  get wrap(): boolean {
    return this.#wrap;
  }
  set wrap(value: boolean) {
    this.#wrap = value;
    this.#keep();
  }

  #keep(): void {
    localStorage.setItem(KEY, JSON.stringify({ time: this.#time, wrap: this.#wrap }));
  }
}

export const preferences = new Preferences();
