// Owns one question of one screen: its answer, its failure, and when it is asked again. It keeps the last answer while
// the next one is under way, so that a screen never flickers to empty.
import type { AnyVariables, TypedDocumentNode } from '@urql/core';
import { ask, type Answer } from '$lib/api/client';
import type { EventCursor } from '$lib/api/graphql';
import type { Problem } from '$lib/api/problem';
import type { Feed } from './feed';

/** Events that come together are answered by one question. */
const QUIET_MS = 250;
/** A list is not asked again more often than this by events. */
const REST_MS = 1_000;
/** Questions in a row whose answers the feed has overrun. */
const TRIES_MAX = 4;

export type Positioned = { readonly eventCursor: EventCursor };

export class Load<Data extends Positioned, Variables extends AnyVariables> {
  /** The last answer; null until there is one. Its rows go on living with the feed. */
  data = $state.raw<Data | null>(null);
  /** Why the last question failed; null after an answer. */
  problem = $state.raw<Problem | null>(null);
  /** Whether a question is under way that the person waits for: the first one, or one with other variables. */
  isLoading = $state.raw(true);

  #variables: Variables | null = null;
  #number = 0;
  #isAsking = false;
  #isWanted = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #askedAt = 0;

  constructor(
    private readonly feed: Feed,
    private readonly document: TypedDocumentNode<Data, Variables>,
  ) {}

  /** Asks with these variables. An answer to earlier ones is not shown any more. */
  ask(variables: Variables): void {
    this.#variables = variables;
    this.isLoading = true;
    this.#send();
  }

  /** Asks again now: for "try again", or when the feed had to start anew. */
  reload(): void {
    if (this.#variables === null) return;
    if (this.data === null || this.problem !== null) this.isLoading = true;
    this.#send();
  }

  /** Asks again soon: something happened that the answer may depend on. */
  touch(): void {
    this.#isWanted = true;
    if (this.#isAsking || this.#timer !== undefined || this.#variables === null) return;
    const rested = this.#askedAt + REST_MS - Date.now();
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        if (document.visibilityState === 'visible') this.#send();
        else document.addEventListener('visibilitychange', this.#seen, { once: true });
      },
      Math.max(QUIET_MS, rested),
    );
  }

  close(): void {
    clearTimeout(this.#timer);
    document.removeEventListener('visibilitychange', this.#seen);
    this.#variables = null;
    this.#number += 1;
  }

  #seen = () => {
    if (this.#isWanted) this.#send();
  };

  #send(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#number += 1;
    this.#isAsking = true;
    this.#isWanted = false;
    this.#askedAt = Date.now();
    void this.#run(this.#number);
  }

  async #run(number: number): Promise<void> {
    const variables = this.#variables;
    if (variables === null) return;
    const { data, problem } = await askInOrder(this.feed, this.document, variables, () => number === this.#number);
    if (number !== this.#number) return;
    if (data) this.data = data;
    this.problem = problem;
    this.isLoading = false;
    this.#isAsking = false;
    if (this.#isWanted) this.touch();
  }
}

/** Asks, and brings the answer to the rows; again when the feed has overrun it. What nobody waits for is not brought. */
export async function askInOrder<Data extends Positioned, Variables extends AnyVariables>(
  feed: Feed,
  document: TypedDocumentNode<Data, Variables>,
  variables: Variables,
  isWaitedFor: () => boolean = () => true,
): Promise<Answer<Data>> {
  for (let tries = 1; ; tries += 1) {
    const asked = feed.asking();
    const answer = await ask(document, variables);
    if (answer.data === null || !isWaitedFor()) return answer;
    const data = feed.answer(asked, answer.data, answer.data.eventCursor, tries >= TRIES_MAX);
    if (data !== null) return { data, problem: null };
  }
}
