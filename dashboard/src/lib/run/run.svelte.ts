// Owns whether the run dialog is open. The dialog itself is loaded when it is first wanted.
import type { Component } from 'svelte';
import { toasts } from '$lib/toasts.svelte';

type RunDialog = Component<{ close: () => void }>;

class Run {
  /** The dialog while it is open. */
  dialog = $state.raw<RunDialog | null>(null);

  async open(): Promise<void> {
    try {
      this.dialog = (await import('./RunDialog.svelte')).default;
    } catch {
      toasts.bad('The dialog could not be loaded: the daemon does not answer.');
    }
  }

  close(): void {
    this.dialog = null;
  }
}

export const run = new Run();
