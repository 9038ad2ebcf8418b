// Owns what grants are called in words, and what is written down for a new token. Pure.
import type { GrantVerb } from '$lib/api/graphql';
import { list } from '$lib/format';

export interface GrantLike {
  readonly verb: GrantVerb;
  readonly tasks: readonly string[] | null;
  readonly ownJobsOnly: boolean;
}

const ORDER: readonly GrantVerb[] = ['ADMIN', 'READ', 'ENQUEUE', 'CANCEL', 'OPERATE', 'COMMAND'];

/** `see its own jobs, start deploy-*, and cancel its own jobs`: what stands behind "may". */
export function inWords(grants: readonly GrantLike[]): string {
  if (grants.length === 0) return 'do nothing';
  if (grants.some((grant) => grant.verb === 'ADMIN')) return 'do everything, tokens too';
  const sorted = [...grants].sort((left, right) => ORDER.indexOf(left.verb) - ORDER.indexOf(right.verb));
  return list(sorted.map(phrase));
}

function phrase({ verb, tasks, ownJobsOnly }: GrantLike): string {
  switch (verb) {
    case 'ADMIN':
      return 'do everything';
    case 'READ':
      return ownJobsOnly ? 'see its own jobs' : 'see everything but tokens';
    case 'ENQUEUE':
      return tasks === null ? 'start every task' : `start ${list(tasks)}`;
    case 'CANCEL': {
      const whose = ownJobsOnly ? 'its own jobs' : tasks === null ? 'every job' : 'jobs';
      return tasks === null ? `cancel ${whose}` : `cancel ${whose} of ${list(tasks)}`;
    }
    case 'OPERATE':
      return 'change tasks, schedules, queues and incidents';
    case 'COMMAND':
      return 'give command lines of its own';
  }
}

/** What the form holds for a new token. */
export interface Draft {
  verbs: Partial<Record<GrantVerb, boolean>>;
  /** Only jobs that the token made. */
  readsOwn: boolean;
  cancelsOwn: boolean;
  /** Globs as they are typed; empty means all. */
  enqueueTasks: string;
  cancelTasks: string;
}

export interface GrantInput {
  verb: GrantVerb;
  tasks: string[] | null;
  ownJobsOnly: boolean;
}

/** The grants of a draft. */
export function grantsOf(draft: Draft): GrantInput[] {
  if (draft.verbs.ADMIN) return [{ verb: 'ADMIN', tasks: null, ownJobsOnly: false }];
  const chosen = ORDER.filter((verb) => draft.verbs[verb]);
  return chosen.map((verb) => ({
    verb,
    tasks: verb === 'ENQUEUE' ? globs(draft.enqueueTasks) : verb === 'CANCEL' ? globs(draft.cancelTasks) : null,
    ownJobsOnly: (verb === 'READ' && draft.readsOwn) || (verb === 'CANCEL' && draft.cancelsOwn),
  }));
}

/** Names with stars, between commas or blanks; null for all. */
export function globs(typed: string): string[] | null {
  const words = typed.split(/[\s,]+/).filter((word) => word !== '');
  return words.length === 0 || words.includes('*') ? null : words;
}

/** The same as words for `beadle token create`; none where its one flag for own jobs says something else. */
export function commandWords(name: string, grants: readonly GrantInput[], expiresIn: string | null): string[] {
  const flags = grants.flatMap(({ verb, tasks }) => {
    const flag = `--${verb.toLowerCase()}`;
    return verb === 'ENQUEUE' || verb === 'CANCEL' ? (tasks ?? ['*']).flatMap((glob) => [flag, glob]) : [flag];
  });
  const narrowed = grants
    .filter(({ verb }) => verb === 'READ' || verb === 'CANCEL')
    .map((grant) => grant.ownJobsOnly === true);
  if (new Set(narrowed).size > 1) return [];
  const own = narrowed.includes(true) ? ['--own'] : [];
  const expiry = expiresIn === null ? [] : ['--expires-in', expiresIn];
  return ['beadle', 'token', 'create', name, ...flags, ...own, ...expiry];
}
