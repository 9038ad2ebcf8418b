// Owns what a series of a Chart is.
import type { Hue } from './states';

export interface Series {
  readonly name: string;
  readonly hue: Hue;
  /** One for each time; null where nothing is known. */
  readonly values: readonly (number | null)[];
  readonly dash?: readonly number[];
}
