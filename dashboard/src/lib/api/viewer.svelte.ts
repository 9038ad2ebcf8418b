// Owns who is asking and what they may do. The daemon checks each request again; this only hides what would be refused.
import type { GrantVerb } from './graphql';

export interface Grant {
  readonly verb: GrantVerb;
  readonly tasks: readonly string[] | null;
  readonly ownJobsOnly: boolean;
}

class Viewer {
  tokenName = $state.raw('');
  grants = $state.raw<readonly Grant[]>([]);

  /** Whether a verb is granted at all; with a task's name, whether it is granted for that task. */
  may(verb: GrantVerb, taskName?: string | null): boolean {
    return this.grants.some(
      (grant) =>
        grant.verb === 'ADMIN' || (grant.verb === verb && (grant.tasks === null || matchesAny(grant.tasks, taskName))),
    );
  }

  /** Whether the token sees its own jobs only. */
  get seesOwnJobsOnly(): boolean {
    return !this.grants.some((grant) => grant.verb === 'ADMIN' || (grant.verb === 'READ' && !grant.ownJobsOnly));
  }
}

function matchesAny(globs: readonly string[], name: string | null | undefined): boolean {
  if (name === undefined || name === null) return name === undefined && globs.length > 0;
  return globs.some((glob) => globExpression(glob).test(name));
}

/** `*` and `?` as in the daemon. */
export function globExpression(glob: string): RegExp {
  const escaped = glob.replace(/[.+^${}()|[\]\\]/g, '\\$&');
  return new RegExp(`^${escaped.replaceAll('*', '.*').replaceAll('?', '.')}$`, 's');
}

export const viewer = new Viewer();
/** Whether the token may do this. */
export const may = (verb: GrantVerb, taskName?: string | null): boolean => viewer.may(verb, taskName);
