// Owns how an attempt is named and which one is shown. Pure.
import type { AttemptOutcome } from '$lib/api/graphql';
import { attemptOutcomes } from '$lib/ui/states';

interface Ended {
  readonly number: number;
  readonly outcome: AttemptOutcome | null;
  readonly exitCode: number | null;
  readonly signal: string | null;
}

/** How it ended: `exit 1`, `SIGKILL`, `timed out`, `running`. */
export function endOf(attempt: Ended): string {
  if (attempt.outcome === null) return 'running';
  if (attempt.outcome === 'EXITED' && attempt.exitCode !== null) return `exit ${String(attempt.exitCode)}`;
  if (attempt.outcome === 'SIGNALED' && attempt.signal !== null) return attempt.signal;
  return attemptOutcomes[attempt.outcome].word;
}

/** The attempt that the address names, else the newest one. */
export function shownAttempt<A extends Ended>(attempts: readonly A[], asked: number | null): A | null {
  return attempts.find((attempt) => attempt.number === asked) ?? attempts.at(-1) ?? null;
}
