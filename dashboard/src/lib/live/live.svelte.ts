// Owns what keeps the page true: the one subscription to the feed, its coming back, and the doors for screens: `load`,
// `change`, `on`, `row`. The order of states is `feed.ts`, the things are `rows.svelte.ts`.
import { untrack } from 'svelte';
import type { AnyVariables, TypedDocumentNode } from '@urql/core';
import { ask, listenToDates, mutate, type Answer } from '$lib/api/client';
import type { EventCursor } from '$lib/api/graphql';
import type { Problem } from '$lib/api/problem';
import { follow } from '$lib/api/socket';
import { viewer } from '$lib/api/viewer.svelte';
import { clock } from './clock.svelte';
import { Feed, type Batch, type EventFilter, type LiveEvent } from './feed';
import { eventsDocument, openingDocument, refreshDocument } from './fragments';
import { askInOrder, Load, type Positioned } from './load.svelte';
import { Rows } from './rows.svelte';

/** Frames are not drawn in a hidden page; events are applied all the same. */
const HIDDEN_FRAME_MS = 500;
/** The wait before the page tries to open again; it doubles up to the last. */
const OPEN_FIRST_MS = 500;
const OPEN_LAST_MS = 8_000;

export interface LoadOptions {
  /** Events after which the answer may be another one: it is asked for again, at most once a second. */
  readonly touchedBy?: EventFilter;
}

/** What a mutation came to. */
export interface Outcome<Data> {
  readonly data: Data | null;
  /** Why there is no answer. */
  readonly problem: Problem | null;
  /** Expected refusals; empty when it was done. */
  readonly userErrors: readonly UserError[];
  readonly isDone: boolean;
}

export interface UserError {
  readonly code: string;
  readonly message: string;
  readonly path: readonly string[] | null;
}

interface Payload {
  readonly cursor?: EventCursor | null;
  readonly userErrors?: readonly UserError[];
}

export type Connection = 'opening' | 'live' | 'lost';

class Live {
  /** live: events come. lost: the page shows what it knew at `lastEventAt` and tries to come back. */
  connection = $state.raw<Connection>('opening');
  /** Since when the connection is as it is, by the page's clock. */
  since = $state.raw(Date.now());
  /** When the daemon was last heard, by its clock. */
  heardAt = $state.raw<number | null>(null);
  /** Why the page could not open. */
  problem = $state.raw<Problem | null>(null);
  version = $state.raw('');
  /** Whether the page has opened once with this token; it stays so when the connection is lost. */
  isOpen = $state.raw(false);

  readonly #rows = new Rows();
  readonly #feed = new Feed(this.#rows, {
    onFrame: (work) => {
      if (document.visibilityState === 'visible') requestAnimationFrame(work);
      else setTimeout(work, HIDDEN_FRAME_MS);
    },
    after: (ms, work) => {
      setTimeout(work, ms);
    },
    refresh: (ids) => {
      for (const id of ids) void this.#refresh(id);
    },
  });
  #loads = new Set<Load<Positioned, AnyVariables>>();
  #stop: (() => void) | null = null;
  /** Counts what was opened and closed: an answer to an earlier opening is nobody's any more. */
  #openings = 0;
  #openTries = 0;
  #openTimer: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    listenToDates((date, sentAt, answeredAt) => {
      clock.offset.date(date, sentAt, answeredAt);
    });
  }

  /** Asks who the viewer is and where the feed stands, then follows the feed. Call with each new token. */
  async open(): Promise<void> {
    this.#pause();
    const mine = this.#openings;
    if (!this.isOpen) this.#turn('opening');
    const { data, problem } = await ask(openingDocument, {});
    if (mine !== this.#openings) return;
    this.problem = problem;
    if (data === null) {
      if (problem.kind !== 'unauthenticated' && problem.code !== 'FORBIDDEN') this.#openLater();
      return;
    }
    this.#openTries = 0;
    viewer.tokenName = data.viewer.tokenName;
    viewer.grants = data.viewer.grants;
    this.version = data.daemon.version;
    this.isOpen = true;
    this.#feed.begin(data.eventCursor);
    this.#stop = follow(eventsDocument, {
      variables: () => ({ after: this.#feed.position }),
      next: ({ events }) => {
        this.#take(events as unknown as Batch);
      },
      started: () => {
        this.#turn('live');
      },
      lost: () => {
        this.#turn('lost');
      },
      refused: (problem) => this.#refused(problem),
    });
  }

  /** Ends everything that belongs to a token. */
  close(): void {
    this.#pause();
    this.isOpen = false;
  }

  #pause(): void {
    this.#openings += 1;
    clearTimeout(this.#openTimer);
    this.#stop?.();
    this.#stop = null;
  }

  /** Asks a question and keeps its answer live. Call while a component is made: it ends with the component. */
  load<Data extends Positioned, Variables extends AnyVariables>(
    document: TypedDocumentNode<Data, Variables>,
    variables: () => Variables,
    options: LoadOptions = {},
  ): Load<Data, Variables> {
    const load = new Load(this.#feed, document);
    $effect(() => {
      const member = load as unknown as Load<Positioned, AnyVariables>;
      this.#loads.add(member);
      const off = options.touchedBy
        ? this.on(options.touchedBy, () => {
            load.touch();
          })
        : undefined;
      return () => {
        off?.();
        this.#loads.delete(member);
        load.close();
      };
    });
    $effect(() => {
      const asked = variables();
      untrack(() => {
        load.ask(asked);
      });
    });
    return load;
  }

  /** Asks once, such as for the next page of a list; the rows of the answer live on as all do. */
  once<Data extends Positioned, Variables extends AnyVariables>(
    document: TypedDocumentNode<Data, Variables>,
    variables: Variables,
  ): Promise<Answer<Data>> {
    return askInOrder(this.#feed, document, variables);
  }

  /** Changes something; the things in the answer are on the page when it returns. */
  async change<Data, Variables extends AnyVariables>(
    document: TypedDocumentNode<Data, Variables>,
    variables: Variables,
  ): Promise<Outcome<Data>> {
    const asked = this.#feed.asking();
    const { data, problem } = await mutate(document, variables);
    if (problem) return { data: null, problem, userErrors: [], isDone: false };
    let adopted = data;
    const payloads = Object.values(data as Record<string, Payload | null>);
    const cursor = payloads.map((payload) => payload?.cursor).findLast((each) => each !== null && each !== undefined);
    if (cursor) adopted = this.#feed.answer(asked, data, cursor) ?? data;
    const userErrors = payloads.flatMap((payload) => payload?.userErrors ?? []);
    return { data: adopted, problem: null, userErrors, isDone: userErrors.length === 0 };
  }

  /** Calls with the events of a frame that fit. Returns what ends it; `listen` ends with the component. */
  on(filter: EventFilter, listener: (events: readonly LiveEvent[]) => void): () => void {
    return this.#feed.on(filter, listener);
  }

  /** As `on`, for the life of a component. */
  listen(filter: EventFilter, listener: (events: readonly LiveEvent[]) => void): void {
    $effect(() => this.on(filter, listener));
  }

  /** The reactive thing that an event is about, as it is now: to put it into a list without asking. */
  row<T extends { id: string }>(subject: T): T {
    return (this.#rows.get(subject.id) as T | undefined) ?? this.#rows.adopt(subject);
  }

  /** Brings the things of another stream (such as `jobFollow`) to the page, at the stream's own cursor. */
  adopt<T>(tree: T, cursor: EventCursor): T {
    return this.#feed.answer(this.#feed.asking(), tree, cursor, true) ?? tree;
  }

  #openLater(): void {
    const wait = Math.min(OPEN_LAST_MS, OPEN_FIRST_MS * 2 ** this.#openTries);
    this.#openTries += 1;
    this.#openTimer = setTimeout(() => {
      void this.#startAnew();
    }, wait);
  }

  #take(batch: Batch): void {
    this.#turn('live');
    const last = batch.events.at(-1);
    if (last) clock.offset.event(last.at, Date.now());
    this.heardAt = clock.exact();
    this.#feed.take(batch);
  }

  #refused(problem: Problem): 'again' | 'stop' {
    if (problem.code === 'CURSOR_EXPIRED') {
      void this.#startAnew();
      return 'stop';
    }
    if (problem.code === 'FORBIDDEN') {
      this.problem = problem;
      this.#turn('lost');
      return 'stop';
    }
    if (problem.code !== 'SLOW_CONSUMER') this.#turn('lost');
    return 'again';
  }

  /** The daemon has forgotten where the page stood: everything is asked again. */
  async #startAnew(): Promise<void> {
    await this.open();
    if (this.#stop === null) return;
    for (const load of this.#loads) load.reload();
  }

  async #refresh(id: string): Promise<void> {
    await this.once(refreshDocument, { id });
  }

  #turn(connection: Connection): void {
    if (this.connection === connection) return;
    this.connection = connection;
    this.since = Date.now();
    if (connection === 'live') {
      this.heardAt = clock.exact();
      for (const load of this.#loads) if (load.problem) load.reload();
    }
  }
}

export const live = new Live();
