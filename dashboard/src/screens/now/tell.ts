// Owns what is said after a change that was made with one press: done, or why not.
import type { Outcome } from '$lib/live/live.svelte';
import { toasts } from '$lib/toasts.svelte';

export function tell({ isDone, problem, userErrors }: Outcome<unknown>, done: string): void {
  if (isDone) toasts.good(done);
  else toasts.bad(problem?.message ?? userErrors[0]?.message ?? 'It was not done.');
}
