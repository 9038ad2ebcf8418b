// Owns what may be wished for dead letters, and how it is asked.
import { counted } from '$lib/format';

export interface Wish {
  readonly kind: 'redeliver' | 'discard';
  readonly sink: string;
  /** How many it touches. */
  readonly letters: number;
  /** The cursors of their events; all of the sink without. */
  readonly events?: readonly string[];
}

export function wishWords({ kind, sink, letters }: Wish): {
  title: string;
  about: string;
  action: string;
  done: string;
} {
  const what = counted(letters, 'dead letter');
  return kind === 'redeliver'
    ? {
        title: `Tell ${sink} again`,
        about: `${what} will be told once more. What it refuses again comes back to this list.`,
        action: 'Tell it again',
        done: `${what} will be told to ${sink} again.`,
      }
    : {
        title: `Discard dead letters of ${sink}`,
        about: `${sink} will never be told of ${letters === 1 ? 'this event' : `these ${counted(letters, 'event')}`}. The events themselves stay in the feed.`,
        action: 'Discard',
        done: `${what} of ${sink} ${letters === 1 ? 'was' : 'were'} discarded.`,
      };
}
