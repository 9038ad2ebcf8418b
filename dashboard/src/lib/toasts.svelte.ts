// Owns the short remarks at the edge of the page: what was done, and what was refused.
export interface Toast {
  readonly id: number;
  readonly text: string;
  readonly tone: 'good' | 'bad';
  /** Something to do about it, such as opening the new job. */
  readonly link: { readonly text: string; readonly href: string } | null;
}

const GOOD_MS = 6_000;
const TOASTS_MAX = 4;

class Toasts {
  list = $state.raw<readonly Toast[]>([]);
  #number = 0;

  /** Something was done. Goes away by itself. */
  good(text: string, link: Toast['link'] = null): void {
    const id = this.#add(text, 'good', link);
    setTimeout(() => {
      this.close(id);
    }, GOOD_MS);
  }

  /** Something was refused or failed. Stays until it is closed. */
  bad(text: string): void {
    this.#add(text, 'bad', null);
  }

  close(id: number): void {
    this.list = this.list.filter((toast) => toast.id !== id);
  }

  #add(text: string, tone: Toast['tone'], link: Toast['link']): number {
    this.#number += 1;
    this.list = [...this.list.slice(1 - TOASTS_MAX), { id: this.#number, text, tone, link }];
    return this.#number;
  }
}

export const toasts = new Toasts();
