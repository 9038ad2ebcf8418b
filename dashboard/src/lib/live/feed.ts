// Owns the order of things: it brings the events of the feed and the answers of queries to the rows so that a row never
// shows a state older than one already shown. It knows no socket and no clock; `live.svelte.ts` gives it both.
//
// The rule. An answer with cursor C holds the data at C or a little later. First the events that wait for their frame
// are applied, then the answer, then, in the same turn, what the feed told behind C about the things in the answer.
// When C has not come by yet the answer is ahead of the feed: until C does, events leave its fields alone. When the page
// cannot know on which side C lies, because the feed ran on too far since the question, the question is asked again.
import type { EventCursor, EventType } from '$lib/api/graphql';
import { History } from './history';
import { isThing, OPAQUE, type Fields, type Rows } from './rows.svelte';

/** Events that may wait for their frame. */
export const PENDING_MAX = 1_000;
/** How long an answer may stay ahead of the feed. */
export const AHEAD_MS = 2_000;
/** How long a job may, whose own last event has not come by though the answer's cursor has. */
export const JOB_AHEAD_MS = 250;

export interface LiveEvent {
  readonly cursor: EventCursor;
  readonly type: EventType;
  readonly at: string;
  readonly actor: string;
  readonly taskName: string | null;
  readonly jobId: string | null;
  readonly data: unknown;
  /** The thing as the event told it. `live.row(id)` is the reactive one. */
  readonly subject: (Fields & { id: string; __typename: string }) | null;
}

export interface Batch {
  readonly events: readonly LiveEvent[];
  readonly cursor: EventCursor;
}

/** Where the feed stood when something was asked. */
export interface Asked {
  readonly position: EventCursor | null;
  readonly era: number;
}

export interface EventFilter {
  readonly types?: readonly EventType[];
  readonly jobId?: string;
  readonly taskName?: string;
  /** A last look. */
  readonly where?: (event: LiveEvent) => boolean;
}

type Listener = (events: readonly LiveEvent[]) => void;

export interface Surroundings {
  /** Runs the work once, before the next picture is drawn. */
  readonly onFrame: (work: () => void) => void;
  /** Runs the work after a time. */
  readonly after: (ms: number, work: () => void) => void;
  /** Asks for these things again: events about them were held back and the feed did not explain itself. */
  readonly refresh: (ids: readonly string[]) => void;
}

interface Mark {
  /** The answer's cursor; null once it has come by. */
  answer: EventCursor | null;
  /** The job's own last event, when it has not come by. */
  own: EventCursor | null;
  readonly fields: Set<string>;
  /** Whether an event was held back. */
  isMissing: boolean;
}

export class Feed {
  /** The last cursor that was applied: where the subscription resumes. */
  position: EventCursor | null = null;
  #pending: LiveEvent[] = [];
  #pendingCursor: EventCursor | null = null;
  #isFrameAsked = false;
  #era = 0;
  #history: History;
  #marks = new Map<string, Mark>();
  #listeners = new Set<{ filter: EventFilter; listener: Listener }>();

  constructor(
    private readonly rows: Rows,
    private readonly surroundings: Surroundings,
    cursorsMax?: number,
  ) {
    this.#history = new History(cursorsMax);
  }

  /** Starts at a cursor, forgetting what was before. Answers that are under way are asked again. */
  begin(cursor: EventCursor): void {
    this.#era += 1;
    this.#pending = [];
    this.#pendingCursor = null;
    this.#marks.clear();
    this.#history.clear();
    this.#history.note(cursor, null);
    this.position = cursor;
  }

  /** Events in order, an empty batch being a bookmark. They are applied with the next frame. */
  take(batch: Batch): void {
    this.#pending.push(...batch.events);
    this.#pendingCursor = batch.cursor;
    if (this.#pending.length >= PENDING_MAX) this.flush();
    else if (!this.#isFrameAsked) {
      this.#isFrameAsked = true;
      this.surroundings.onFrame(() => {
        this.#isFrameAsked = false;
        this.flush();
      });
    }
  }

  /** Applies what waits. */
  flush(): void {
    if (this.#pendingCursor === null) return;
    const events: LiveEvent[] = [];
    const latest = new Map<string, unknown>();
    for (const event of this.#pending) {
      if (this.#history.place(event.cursor) !== undefined) continue;
      events.push(event);
      this.#history.note(event.cursor, event.subject);
      const { subject } = event;
      // Of many events about one thing only the last one is drawn, unless some are held back.
      if (subject && this.#marks.size === 0) {
        latest.delete(subject.id);
        latest.set(subject.id, subject);
      } else if (subject) this.rows.patch(subject, (id) => this.#heldBack(id));
      this.#pass(event.cursor);
    }
    for (const subject of latest.values()) this.rows.patch(subject);
    this.#history.note(this.#pendingCursor, null);
    this.#pass(this.#pendingCursor);
    this.position = this.#pendingCursor;
    this.#pending = [];
    this.#pendingCursor = null;
    if (events.length > 0) this.#tell(events);
  }

  /** To be called right before a question is sent. */
  asking(): Asked {
    return { position: this.#pendingCursor ?? this.position, era: this.#era };
  }

  /** Takes an answer over and gives it back with its rows; null when it has to be asked again. */
  answer<T>(asked: Asked, tree: T, cursor: EventCursor, isLastTry = false): T | null {
    this.flush();
    const place = this.#history.place(cursor);
    const isAhead = place === undefined;
    if (isAhead && !isLastTry) {
      const isSure =
        asked.era === this.#era && asked.position !== null && this.#history.place(asked.position) !== undefined;
      if (!isSure) return null;
    }
    const things = collect(tree);
    const adopted = this.rows.adopt(tree);
    for (const [id, fields] of things) {
      if (place !== undefined) for (const told of this.#history.toldBehind(id, place)) this.rows.patch(told);
      this.#mark(id, fields, isAhead ? cursor : null);
    }
    return adopted;
  }

  /** Calls with the events of each frame that fit, until the returned function is called. */
  on(filter: EventFilter, listener: Listener): () => void {
    const entry = { filter, listener };
    this.#listeners.add(entry);
    return () => {
      this.#listeners.delete(entry);
    };
  }

  #mark(id: string, fields: Fields, answer: EventCursor | null): void {
    const version = fields['eventCursor'] as EventCursor | undefined;
    const own = version !== undefined && this.#history.place(version) === undefined ? version : null;
    if (answer === null && own === null) {
      this.#marks.delete(id);
      return;
    }
    const mark: Mark = { answer, own, fields: new Set(Object.keys(fields)), isMissing: false };
    this.#marks.set(id, mark);
    this.#expire(id, mark, answer === null ? JOB_AHEAD_MS : AHEAD_MS);
  }

  #expire(id: string, mark: Mark, ms: number): void {
    this.surroundings.after(ms, () => {
      if (this.#marks.get(id) !== mark) return;
      this.#marks.delete(id);
      if (mark.isMissing) this.surroundings.refresh([id]);
    });
  }

  #heldBack(id: string): ReadonlySet<string> | undefined {
    const mark = this.#marks.get(id);
    if (mark) mark.isMissing = true;
    return mark?.fields;
  }

  /** The feed has come to this cursor: answers that stood there are not ahead any more. */
  #pass(cursor: EventCursor): void {
    for (const [id, mark] of this.#marks) {
      if (mark.own === cursor || (mark.answer === cursor && mark.own === null)) this.#marks.delete(id);
      else if (mark.answer === cursor) {
        mark.answer = null;
        mark.isMissing = false;
        this.#expire(id, mark, JOB_AHEAD_MS);
      }
    }
  }

  #tell(events: readonly LiveEvent[]): void {
    for (const { filter, listener } of [...this.#listeners]) {
      const fitting = events.filter((event) => fits(filter, event));
      if (fitting.length > 0) listener(fitting);
    }
  }
}

export function fits(filter: EventFilter, event: LiveEvent): boolean {
  if (filter.types && !filter.types.includes(event.type)) return false;
  if (filter.jobId !== undefined && filter.jobId !== event.jobId) return false;
  if (filter.taskName !== undefined && filter.taskName !== event.taskName) return false;
  return filter.where?.(event) ?? true;
}

/** Every thing in a tree with the fields that it was given there. */
function collect(tree: unknown, into = new Map<string, Fields>()): Map<string, Fields> {
  if (Array.isArray(tree)) for (const item of tree) collect(item, into);
  else if (typeof tree === 'object' && tree !== null) {
    const fields = tree as Fields;
    if (isThing(fields)) into.set(fields.id, { ...into.get(fields.id), ...fields });
    for (const key of Object.keys(fields)) if (!OPAQUE.has(key)) collect(fields[key], into);
  }
  return into;
}
