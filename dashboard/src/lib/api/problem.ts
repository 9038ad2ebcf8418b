// Owns the shape of everything that can go wrong between the page and the daemon. Screens show a Problem as it is;
// expected refusals of a mutation are `userErrors` of its payload and never a Problem.
import { CombinedError } from '@urql/core';

/** What passes by itself: a stream that ends so goes on later where it stood. */
const PASSING: ReadonlySet<string | null> = new Set([
  'SLOW_CONSUMER',
  'UNAVAILABLE',
  'OVERLOADED',
  'STOPPING',
  'TIMEOUT',
  'RATE_LIMITED',
  'INTERNAL',
]);

/** Whether a stream that ended so is to be followed again. */
export function comesAgain(problem: Problem): boolean {
  return PASSING.has(problem.code);
}

/** Whether it is worth asking again without anybody's doing. */
export function passes(problem: Problem): boolean {
  return problem.kind === 'network' || comesAgain(problem);
}

export interface Problem {
  /** network: no answer. refused: the daemon said no or failed. unauthenticated: the token is not taken. */
  readonly kind: 'network' | 'refused' | 'unauthenticated';
  /** The stable code of the daemon's answer, such as FORBIDDEN or TIMEOUT. */
  readonly code: string | null;
  readonly message: string;
  /** The argument at fault and what in it, when the daemon says so. */
  readonly inputPath: readonly string[] | null;
  readonly retryAfterMs: number | null;
  /** When it happened, by the page's clock. */
  readonly at: number;
}

/** What is said of a token that the daemon refuses, on every transport. */
export const UNKNOWN_TOKEN = 'The daemon does not take this token: it is unknown, revoked or expired.';

interface Coded {
  readonly message: string;
  readonly extensions?: Record<string, unknown> | undefined;
}

/** What a GraphQL error says. */
export function problemOfError(error: Coded): Problem {
  const code = typeof error.extensions?.['code'] === 'string' ? error.extensions['code'] : null;
  const wait = error.extensions?.['retryAfterMs'];
  const path = error.extensions?.['inputPath'];
  return {
    kind: code === 'UNAUTHENTICATED' ? 'unauthenticated' : 'refused',
    code,
    message: sentence(error.message),
    inputPath: Array.isArray(path) ? path.map(String) : null,
    retryAfterMs: typeof wait === 'number' ? wait : null,
    at: Date.now(),
  };
}

/** What a failed request says. */
export function problemOf(error: unknown): Problem {
  if (error instanceof CombinedError) {
    const status = (error.response as { status?: number } | undefined)?.status;
    const first = error.graphQLErrors[0];
    if (first) {
      const problem = problemOfError(first);
      return status === 401 ? unauthenticated(UNKNOWN_TOKEN) : problem;
    }
    if (status === 401) return unauthenticated(UNKNOWN_TOKEN);
    if (status !== undefined && status >= 400) {
      return unanswered(`The daemon answered with status ${String(status)}.`);
    }
  }
  return noAnswer();
}

export function unauthenticated(message: string): Problem {
  const at = Date.now();
  return { kind: 'unauthenticated', code: 'UNAUTHENTICATED', message, inputPath: null, retryAfterMs: null, at };
}

export function noAnswer(): Problem {
  const message = 'The daemon does not answer.';
  return { kind: 'network', code: null, message, inputPath: null, retryAfterMs: null, at: Date.now() };
}

/** The daemon answered, but not with what a question needs. */
export function unanswered(message: string): Problem {
  return { kind: 'refused', code: null, message, inputPath: null, retryAfterMs: null, at: Date.now() };
}

function sentence(text: string): string {
  const upper = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(upper) ? upper : `${upper}.`;
}
