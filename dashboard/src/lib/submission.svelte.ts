// Owns the sending of a form that stands in the page: whether it is under way, and what was refused at which field.
// A form in a dialog is `FormDialog`.
import type { Outcome, UserError } from '$lib/live/live.svelte';

/** What is wrong, by the path of the field with dots between the steps. */
export type FieldErrors = Readonly<Record<string, string>>;

export class Submission {
  isSending = $state.raw(false);
  /** What the page itself found before it asked. */
  found = $state.raw<FieldErrors>({});
  refused = $state.raw<readonly UserError[]>([]);
  /** Why there was no answer. */
  failure = $state.raw<string | null>(null);

  /** What is wrong with a field. */
  at(path: string): string | null {
    return this.found[path] ?? this.refused.find((error) => error.path?.join('.') === path)?.message ?? null;
  }

  /** Refusals of no field that the form shows. */
  besides(isShown: (path: string) => boolean): readonly string[] {
    return this.refused
      .filter((error) => error.path === null || !isShown(error.path.join('.')))
      .map((error) => (error.path === null ? error.message : `${error.path.join('.')}: ${error.message}`));
  }

  /** Sends, unless something was found or is under way. Answers what came of it; null when nothing was sent. */
  async send<Data>(found: FieldErrors, ask: () => Promise<Outcome<Data>>): Promise<Outcome<Data> | null> {
    if (this.isSending) return null;
    this.found = found;
    this.refused = [];
    this.failure = null;
    if (Object.keys(found).length > 0) return null;
    this.isSending = true;
    const outcome = await ask();
    this.isSending = false;
    this.refused = outcome.userErrors;
    this.failure = outcome.problem?.message ?? null;
    return outcome;
  }
}

/** Brings the first field with an error into view, and the keyboard to it. Call after the form has been drawn. */
export function showFirstError(form: HTMLElement): void {
  const field = form.querySelector<HTMLElement>('[aria-invalid="true"]');
  field?.closest('details')?.setAttribute('open', '');
  field?.focus();
}
