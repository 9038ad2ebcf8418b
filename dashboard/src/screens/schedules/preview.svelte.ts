// Owns the preview of a rule that is being written: asked a moment after the last key, by the daemon that will keep it.
import { untrack } from 'svelte';
import { lengthOf } from '$lib/length';
import { live } from '$lib/live/live.svelte';
import { previewDocument, type DueShown } from './documents';
import { lengthSent, previewSlip, timingOf, type Form } from './editor';

const QUIET_MS = 250;
/** So far ahead notes of changing clocks are looked for. */
const AHEAD = 200;

/** What the due times depend on. */
type Asked = Pick<Form, 'kind' | 'every' | 'cron' | 'timeZone' | 'jitter' | 'name'>;

export class Preview {
  /** null before the first answer, and while there is nothing to ask. */
  dues = $state.raw<readonly DueShown[] | null>(null);
  slip = $state.raw<ReturnType<typeof previewSlip> | null>(null);
  #number = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Follows a form while the component lives. */
  constructor(form: () => Form) {
    $effect(() => {
      const { kind, every, cron, timeZone, jitter, name } = form();
      untrack(() => {
        this.#later({ kind, every, cron, timeZone, jitter, name });
      });
      return () => {
        clearTimeout(this.#timer);
        this.#number += 1;
      };
    });
  }

  #later(form: Asked): void {
    const text = (form.kind === 'every' ? form.every : form.cron).trim();
    const isNoLength = (length: string) => length !== '' && lengthOf(length) === null;
    if (text === '' || (form.kind === 'every' && isNoLength(text)) || isNoLength(form.jitter.trim())) {
      this.dues = null;
      this.slip = null;
      return;
    }
    this.#timer = setTimeout(() => void this.#ask(form), QUIET_MS);
  }

  async #ask(form: Asked): Promise<void> {
    const number = (this.#number += 1);
    const { data, problem } = await live.once(previewDocument, {
      timing: timingOf(form),
      timeZone: form.timeZone,
      first: AHEAD,
      jitter: lengthSent(form.jitter, '0s'),
      // The name decides how much of the jitter; while there is none any name shows the rhythm.
      name: form.name.trim() || 'new',
    });
    if (number !== this.#number) return;
    this.dues = data?.schedulePreview ?? null;
    this.slip = problem ? previewSlip(problem) : null;
  }
}
