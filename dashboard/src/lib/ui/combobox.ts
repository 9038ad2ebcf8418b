// Owns what a Combobox offers for what was typed. Pure.

export interface Option {
  readonly value: string;
  /** Shown instead of the value. */
  readonly text?: string;
  /** A quiet word at the right: an offset, a queue. */
  readonly note?: string;
}

/** How many are shown at once; one types on to see others. */
export const SHOWN_MAX = 100;

export interface Offer {
  readonly shown: readonly Option[];
  readonly moreCount: number;
}

/** The options that hold every typed word, in their order; those that begin with what was typed come first. */
export function offer(options: readonly Option[], typed: string): Offer {
  const wanted = plain(typed);
  const words = wanted.split(' ').filter((word) => word !== '');
  const fitting = options.filter((option) => {
    const text = plain(`${option.text ?? ''} ${option.value}`);
    return words.every((word) => text.includes(word));
  });
  const begins = (option: Option) => plain(option.text ?? option.value).startsWith(wanted);
  const ordered = [...fitting.filter(begins), ...fitting.filter((option) => !begins(option))];
  return { shown: ordered.slice(0, SHOWN_MAX), moreCount: Math.max(0, ordered.length - SHOWN_MAX) };
}

/** `Europe/Berlin` and `deploy_web` are found by their parts. */
function plain(text: string): string {
  return text
    .toLowerCase()
    .replace(/[\s/_-]+/g, ' ')
    .trim();
}
