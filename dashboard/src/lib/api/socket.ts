// Owns the one WebSocket of the page and the way a subscription comes back: after a lost connection it is made again
// with variables asked for anew, so that it resumes at its own cursor.
import { stringifyDocument, type TypedDocumentNode } from '@urql/core';
import { createClient, type Client } from 'graphql-ws';
import { access } from './access.svelte';
import { noAnswer, problemOfError, UNKNOWN_TOKEN, type Problem } from './problem';

/** The first wait before a new try; it doubles up to the last. */
const RETRY_FIRST_MS = 250;
const RETRY_LAST_MS = 8_000;
const PING_MS = 15_000;
const PONG_MS = 5_000;

export interface Follower<Data, Variables> {
  /** Asked at each start and each return. */
  readonly variables: () => Variables;
  readonly next: (data: Data) => void;
  /** The daemon refused or cut it. Answer `again` to subscribe anew, `stop` to end. */
  readonly refused: (problem: Problem) => 'again' | 'stop';
  /** Its last message was told. */
  readonly complete?: () => void;
  /** The connection was lost; it comes back by itself. */
  readonly lost?: () => void;
  /** It is subscribed. */
  readonly started?: () => void;
}

let shared: { readonly token: string; readonly client: Client; isConnected: boolean } | null = null;

function clientFor(token: string): NonNullable<typeof shared> {
  if (shared?.token === token) return shared;
  void shared?.client.dispose();
  let overdue: ReturnType<typeof setTimeout> | undefined;
  const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
  const client = createClient({
    url: `${scheme}://${location.host}/graphql`,
    connectionParams: { authorization: `Bearer ${token}` },
    lazy: true,
    // Returning is done by `follow`, which knows the cursor.
    retryAttempts: 0,
    keepAlive: PING_MS,
    on: {
      ping: (received) => {
        if (!received)
          overdue = setTimeout(() => {
            client.terminate();
          }, PONG_MS);
      },
      pong: (received) => {
        if (received) clearTimeout(overdue);
      },
      connected: () => {
        mine.isConnected = true;
      },
      closed: () => {
        mine.isConnected = false;
        clearTimeout(overdue);
      },
    },
  });
  const mine = { token, client, isConnected: false };
  shared = mine;
  return mine;
}

/** Subscribes until the returned function is called, the subscription completes or a refusal stops it. */
export function follow<Data, Variables extends Record<string, unknown>>(
  document: TypedDocumentNode<Data, Variables>,
  follower: Follower<Data, Variables>,
): () => void {
  const following = new Following(stringifyDocument(document), follower);
  following.start();
  return () => {
    following.stop();
  };
}

class Following<Data, Variables extends Record<string, unknown>> {
  #isOver = false;
  #tries = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #release: () => void = () => undefined;

  constructor(
    private readonly query: string,
    private readonly follower: Follower<Data, Variables>,
  ) {
    addEventListener('online', this.#hurry);
  }

  start(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const { token } = access;
    if (this.#isOver || token === null) return;
    const socket = clientFor(token);
    // A message of a try that was given up must not be told.
    let isCurrent = true;
    const ifCurrent = (then: () => void) => {
      if (isCurrent) then();
    };
    const off = socket.client.on('connected', () => {
      ifCurrent(() => this.follower.started?.());
    });
    const unsubscribe = socket.client.subscribe<Data>(
      { query: this.query, variables: this.follower.variables() },
      {
        next: (result) => {
          ifCurrent(() => {
            this.#next(result.data, result.errors?.[0]);
          });
        },
        error: (error) => {
          ifCurrent(() => {
            this.#fail(error);
          });
        },
        complete: () => {
          ifCurrent(() => {
            this.stop();
            this.follower.complete?.();
          });
        },
      },
    );
    this.#release = () => {
      isCurrent = false;
      off();
      unsubscribe();
    };
    if (socket.isConnected) this.follower.started?.();
  }

  stop(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
    removeEventListener('online', this.#hurry);
    this.#release();
  }

  #next(data: Data | null | undefined, error: Parameters<typeof problemOfError>[0] | undefined): void {
    this.#tries = 0;
    if (error) this.#settle(this.follower.refused(problemOfError(error)));
    else if (data) this.follower.next(data);
  }

  #fail(error: unknown): void {
    if (Array.isArray(error)) {
      const first = error[0] as Parameters<typeof problemOfError>[0] | undefined;
      this.#settle(this.follower.refused(first ? problemOfError(first) : noAnswer()));
      return;
    }
    const code = closeCode(error);
    if (code === 4401 || code === 4403) {
      this.stop();
      access.refuse(UNKNOWN_TOKEN);
      return;
    }
    this.#release();
    this.follower.lost?.();
    this.#again();
  }

  #settle(verdict: 'again' | 'stop'): void {
    if (verdict === 'stop') this.stop();
    else {
      this.#release();
      this.#again();
    }
  }

  #again(): void {
    if (this.#isOver) return;
    const wait = Math.min(RETRY_LAST_MS, RETRY_FIRST_MS * 2 ** this.#tries) * (0.75 + Math.random() / 2);
    this.#tries += 1;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.start();
    }, wait);
  }

  /** The network is back. */
  #hurry = () => {
    if (this.#timer === undefined) return;
    this.#tries = 0;
    this.start();
  };
}

function closeCode(error: unknown): number | null {
  if (typeof error !== 'object' || error === null || !('code' in error)) return null;
  return typeof error.code === 'number' ? error.code : null;
}
