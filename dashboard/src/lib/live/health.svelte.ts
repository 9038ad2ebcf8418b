// Owns how the daemon is, as its own subscription tells it: at once, then after each change. One for a component's life.
import { graphql, type ResultOf } from '$lib/api/graphql';
import type { Problem } from '$lib/api/problem';
import { follow } from '$lib/api/socket';
import { viewer } from '$lib/api/viewer.svelte';

const healthDocument = graphql(`
  subscription Health {
    health {
      status
      subsystems {
        name
        status
        since
        message
        restartCount
        lastError
        lastErrorAt
      }
    }
  }
`);

export type Health = ResultOf<typeof healthDocument>['health'];
export type Part = Health['subsystems'][number];

/** Call while a component is made. `now` is null until the daemon has answered. */
export function useHealth(): { readonly now: Health | null; readonly problem: Problem | null } {
  let now = $state.raw<Health | null>(null);
  let problem = $state.raw<Problem | null>(null);
  $effect(() => {
    // A token that sees its own jobs only is not told.
    if (viewer.seesOwnJobsOnly) return undefined;
    return follow(healthDocument, {
      variables: () => ({}),
      next: ({ health }) => {
        now = health;
        problem = null;
      },
      refused: (why) => {
        problem = why;
        return why.code === 'FORBIDDEN' ? 'stop' : 'again';
      },
    });
  });
  return {
    get now() {
      return now;
    },
    get problem() {
      return problem;
    },
  };
}
