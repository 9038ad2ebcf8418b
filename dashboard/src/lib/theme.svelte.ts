// Owns light and dark: the system's choice unless the person made one, which is kept in localStorage.
const KEY = 'beadle.theme';
export type Choice = 'system' | 'light' | 'dark';

class Theme {
  choice = $state.raw<Choice>('system');
  #system = matchMedia('(prefers-color-scheme: dark)');
  #systemIsDark = $state.raw(this.#system.matches);
  /** What is shown. */
  readonly isDark = $derived(this.choice === 'system' ? this.#systemIsDark : this.choice === 'dark');

  /** Call once, before the first picture. */
  start(): void {
    const kept = localStorage.getItem(KEY);
    this.set(kept === 'light' || kept === 'dark' ? kept : 'system');
    this.#system.addEventListener('change', () => {
      this.#systemIsDark = this.#system.matches;
    });
  }

  set(choice: Choice): void {
    this.choice = choice;
    if (choice === 'system') {
      localStorage.removeItem(KEY);
      delete document.documentElement.dataset['theme'];
    } else {
      localStorage.setItem(KEY, choice);
      document.documentElement.dataset['theme'] = choice;
    }
  }
}

export const theme = new Theme();
