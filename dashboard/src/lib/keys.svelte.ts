// Owns the keyboard: which keys do what now. A screen adds its own with `useKeys`; `?` lists them all. Keys are silent
// while somebody types and while a dialog is open.
import { untrack } from 'svelte';

export interface KeyAction {
  /** What it does, for the list. */
  readonly does: string;
  readonly run: () => void;
}
/** Keys as one reads them: `j`, `/`, `Enter`, or two in a row: `g n`. */
export type KeyMap = Readonly<Record<string, KeyAction>>;

const SEQUENCE_MS = 1_200;

class Keys {
  #maps = $state.raw<readonly KeyMap[]>([]);
  #first: { key: string; at: number } | null = null;

  /** All that can be pressed now, later ones above earlier ones. */
  get list(): [string, KeyAction][] {
    return Object.entries(Object.assign({}, ...this.#maps) as KeyMap);
  }

  add(map: KeyMap): () => void {
    this.#maps = [...this.#maps, map];
    return () => {
      this.#maps = this.#maps.filter((other) => other !== map);
    };
  }

  press(event: KeyboardEvent): void {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isTyping(event)) return;
    if (document.querySelector('dialog[open], [role="dialog"], [role="menu"], [role="listbox"]')) return;
    const first = this.#first;
    this.#first = null;
    const isSecond = first !== null && Date.now() - first.at < SEQUENCE_MS;
    const action = (isSecond ? this.#find(`${first.key} ${event.key}`) : undefined) ?? this.#find(event.key);
    if (action) {
      event.preventDefault();
      action.run();
    } else if (this.list.some(([keys]) => keys.startsWith(`${event.key} `))) {
      this.#first = { key: event.key, at: Date.now() };
    }
  }

  #find(keys: string): KeyAction | undefined {
    return this.#maps.findLast((map) => keys in map)?.[keys];
  }
}

function isTyping(event: KeyboardEvent): boolean {
  const target = event.target;
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement)
    return true;
  if (target instanceof HTMLInputElement) return !['checkbox', 'radio', 'button'].includes(target.type);
  // Enter and space on a control are the control's.
  return (event.key === 'Enter' || event.key === ' ') && target.closest('a, button, summary, [role="tab"]') !== null;
}

export const keys = new Keys();

/** The keys of a screen or a component, as long as it is there. */
export function useKeys(map: () => KeyMap): void {
  $effect(() => {
    const now = map();
    const remove = untrack(() => keys.add(now));
    return () => {
      untrack(remove);
    };
  });
}
