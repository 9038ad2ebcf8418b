// Owns the lines of one attempt as the page holds them: windows of a log of any size. It asks for what is seen, keeps
// the windows used last, and follows the end while the attempt runs. What could not be read is asked for again. It must
// never hold more than CHARACTERS_MAX.
import { untrack } from 'svelte';
import { follow } from '$lib/api/socket';
import { comesAgain, passes, unanswered, type Problem } from '$lib/api/problem';
import { live } from '$lib/live/live.svelte';
import { carryBehind } from './ansi';
import { endDocument, NO_ATTEMPT, pageDocument, tailDocument, type LogBatch } from './documents';
import { Gaps } from './gaps';
import { linesBefore, positionBehind } from './position';
import { EVERYTHING, type Line, type Row, type Source, type Stream } from './source';

/** Lines of one window. */
export const WINDOW = 250;
/** Windows and characters that are kept at most. */
const WINDOWS_MAX = 60;
const CHARACTERS_MAX = 12_000_000;
/** Lines that are asked for at first. */
const LAST = 400;
/** Rows around those that are seen that are brought too. */
const AHEAD = 125;
/** Windows that are asked for at once. A scrollbar that is dragged asks for what is seen when there is room again. */
const ASKED_MAX = 2;
/** The wait before what failed is asked for again by itself; it doubles up to the last. */
const AGAIN_FIRST_MS = 3_000;
const AGAIN_LAST_MS = 30_000;

interface Window {
  readonly lines: (Line | undefined)[];
  isWhole: boolean;
  isAsked: boolean;
  characters: number;
}

export interface LogOf {
  readonly jobId: string;
  readonly attemptId: string;
  readonly number: number;
}

export class Lines implements Source {
  /** Lines so far, those that were not kept included. */
  end = $state.raw(0);
  /** The last line was seen and nothing follows. */
  isComplete = $state.raw(false);
  /** The whole log made room for newer ones; then so many bytes are gone. */
  forgottenBytes = $state.raw<number | null>(null);
  problem = $state.raw<Problem | null>(null);
  isOpen = $state.raw(false);
  /** The tail is lost and comes back by itself. */
  isCut = $state.raw(false);

  readonly gaps = new Gaps();
  /** Changes whenever a row may be another one. */
  #version = $state.raw(0);
  #windows = new Map<number, Window>();
  #carries = new Map<Stream, string>();
  #stop: (() => void) | null = null;
  #isClosed = false;
  #frame: number | null = null;
  /** The rows that are seen. */
  #seen: readonly [from: number, to: number] = [0, -1];
  #asked = 0;
  /** Windows that could not be read: they are not asked for before `retry`. */
  #failed = new Set<number>();
  #isOpening = false;
  /** The daemon refused to tell the tail. */
  #isTailRefused = false;
  #tries = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(readonly of: LogOf) {}

  /** Reads the end and follows it. */
  async open(): Promise<void> {
    if (this.#isOpening || this.isOpen) return;
    this.#isOpening = true;
    const { data, problem } = await live.once(endDocument, {
      attempt: this.of.attemptId,
      last: LAST,
      before: null,
      grep: null,
    });
    this.#isOpening = false;
    if (this.#isClosed) return;
    const log = data?.node?.__typename === 'Attempt' ? data.node.log : null;
    if (!log) {
      this.#fail(problem);
      return;
    }
    this.#answered();
    this.#take(log);
    this.isOpen = true;
    if (!log.isComplete) this.#follow();
  }

  close(): void {
    this.#isClosed = true;
    this.#stop?.();
    clearTimeout(this.#timer);
    if (this.#frame !== null) cancelAnimationFrame(this.#frame);
    this.#windows.clear();
  }

  /** Asks again for what failed, of what is seen: the daemon answers again, or somebody wants to know. */
  retry(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#isClosed || this.problem === null) return;
    if (!this.isOpen) {
      void this.open();
      return;
    }
    if (this.#isTailRefused) {
      this.#isTailRefused = false;
      this.problem = null;
      this.#follow();
    }
    this.#failed.clear();
    this.#bringSeen();
    // Nothing that is seen lacks any more.
    if (this.#asked === 0) this.problem = null;
  }

  #fail(problem: Problem | null): void {
    const told = problem ?? unanswered(NO_ATTEMPT);
    this.problem = told;
    if (this.#timer !== undefined || !passes(told)) return;
    const wait = Math.min(AGAIN_LAST_MS, AGAIN_FIRST_MS * 2 ** this.#tries);
    this.#tries += 1;
    this.#timer = setTimeout(
      () => {
        this.retry();
      },
      Math.max(wait, told.retryAfterMs ?? 0),
    );
  }

  #answered(): void {
    this.#tries = 0;
    // What lacks elsewhere is still told.
    if (this.#failed.size === 0 && !this.#isTailRefused) this.problem = null;
  }

  get count(): number {
    void this.#version;
    return this.gaps.rows(this.end);
  }

  row(index: number): Row | null {
    void this.#version;
    const number = this.gaps.lineOf(index);
    const gap = this.gaps.at(number);
    if (gap) return { kind: 'gap', ...gap };
    return this.#windows.get(Math.floor(number / WINDOW))?.lines[number % WINDOW] ?? null;
  }

  rowOf(line: number): number {
    return this.gaps.rowOf(line);
  }

  lineOf(row: number): number {
    return this.gaps.lineOf(row);
  }

  want(from: number, to: number): void {
    this.#seen = [Math.max(0, from), Math.max(0, to)];
    this.#bringSeen();
  }

  /** Brings what is seen, and then what lies around it. */
  #bringSeen(): void {
    const [from, to] = this.#seen;
    while (this.#asked < ASKED_MAX && !this.#isClosed) {
      const index = this.#missing(from, to) ?? this.#missing(Math.max(0, from - AHEAD), to + AHEAD);
      if (index === null) return;
      this.#asked += 1;
      void this.#bring(index).finally(() => {
        this.#asked -= 1;
        this.#bringSeen();
      });
    }
  }

  /** The first window with a row of these that is not at hand; null when nothing is to be asked for. */
  #missing(from: number, to: number): number | null {
    const first = Math.floor(this.gaps.lineOf(from) / WINDOW);
    const last = Math.floor(this.gaps.lineOf(to) / WINDOW);
    for (let index = first; index <= last; index += 1) {
      const window = this.#windows.get(index);
      if (window) this.#use(index, window);
      const isOpen = !window?.isWhole && !window?.isAsked && !this.#failed.has(index);
      if (isOpen && this.#isLacking(index, from, to)) return index;
      // A gap is one row: the windows within it are not looked at.
      const gap = this.gaps.at((index + 1) * WINDOW);
      if (gap) index = Math.max(index, Math.floor(gap.to / WINDOW) - 1);
    }
    return null;
  }

  /** Whether a row that is seen is not at hand. */
  #isLacking(index: number, from: number, to: number): boolean {
    const start = Math.max(index * WINDOW, this.gaps.lineOf(Math.max(0, from)));
    const end = Math.min((index + 1) * WINDOW, this.gaps.lineOf(to) + 1, this.end);
    for (let line = start; line < end; line += 1) {
      if (!this.#windows.get(index)?.lines[line % WINDOW] && !this.gaps.at(line)) return true;
    }
    return false;
  }

  async #bring(index: number): Promise<void> {
    const window = this.#window(index);
    if (window.isWhole || window.isAsked) return;
    window.isAsked = true;
    const start = index * WINDOW;
    const end = start + WINDOW;
    const carries = this.#carriesBefore(index);
    for (let at = start; at < end;) {
      const after = positionBehind(this.of.attemptId, at);
      const variables = { attempt: this.of.attemptId, first: end - at, after, ...EVERYTHING };
      const { data, problem } = await live.once(pageDocument, variables);
      if (this.#isClosed) return;
      const log = data?.node?.__typename === 'Attempt' ? data.node.log : null;
      if (!log) {
        this.#failed.add(index);
        this.#fail(problem);
        break;
      }
      this.#answered();
      const next = this.#put(log, at, carries);
      if (next === at) {
        // Nothing is kept from here to the end as it is known.
        if (!log.hasMore) this.gaps.add({ from: at, to: Math.min(end, this.end), bytes: 0 });
        break;
      }
      at = next;
      window.isWhole = at >= end;
    }
    window.isAsked = false;
    this.#use(index, window);
    this.#changed();
  }

  /** Puts a page that was asked for behind `at`. Returns where it ended. */
  #put(log: LogBatch, at: number, carries: Map<Stream, string>): number {
    let expected = at;
    for (const line of log.lines) {
      const number = linesBefore(line.cursor) - 1;
      if (number > expected) this.#gap(expected, number, Number(line.droppedBefore));
      this.#set(number, line, carries);
      expected = number + 1;
    }
    return expected;
  }

  #set(number: number, line: LogBatch['lines'][number], carries: Map<Stream, string>): void {
    const carry = carries.get(line.stream) ?? '';
    const after = carryBehind(carry, line.text);
    if (after !== carry) carries.set(line.stream, after);
    const window = this.#window(Math.floor(number / WINDOW));
    if (window.lines[number % WINDOW] === undefined) window.characters += line.text.length;
    const { at, stream, text, isTruncated } = line;
    window.lines[number % WINDOW] = { kind: 'line', number, at, stream, text, carry, isTruncated };
  }

  /** The looks that the window before leaves on. */
  #carriesBefore(index: number): Map<Stream, string> {
    const carries = new Map<Stream, string>();
    for (const line of this.#windows.get(index - 1)?.lines ?? []) {
      if (line) carries.set(line.stream, carryBehind(line.carry, line.text));
    }
    return carries;
  }

  #gap(from: number, to: number, bytes: number): void {
    if (!this.gaps.add({ from, to, bytes })) return;
    const gap = this.gaps.at(from);
    if (gap && gap.from > 0 && !this.#isKnown(gap.from - 1)) void this.#findBegin(gap.from);
  }

  #isKnown(line: number): boolean {
    return this.#windows.get(Math.floor(line / WINDOW))?.lines[line % WINDOW] !== undefined;
  }

  /** Asks where the gap that reaches up to a line begins: behind the last line that is kept before it. */
  async #findBegin(upTo: number): Promise<void> {
    const before = positionBehind(this.of.attemptId, upTo + 1);
    const variables = { attempt: this.of.attemptId, last: 1, before, grep: null };
    const { data } = await live.once(endDocument, variables);
    const log = data?.node?.__typename === 'Attempt' ? data.node.log : null;
    if (this.#isClosed || !log) return;
    const [line] = log.lines;
    if (this.gaps.add({ from: line ? linesBefore(line.cursor) : 0, to: upTo, bytes: 0 })) this.#changed();
  }

  /** The newest lines: of the first answer, or told by the tail. */
  #take(log: LogBatch): void {
    const end = linesBefore(log.cursor);
    const [first] = log.lines;
    if (log.isForgotten) this.forgottenBytes = Number(log.droppedBytes);
    else if (first) {
      const number = linesBefore(first.cursor) - 1;
      const dropped = Number(first.droppedBefore);
      const start = this.isOpen ? Math.min(this.end, number) : number;
      if (!this.isOpen && dropped > 0 && number > 0) this.#gap(number - 1, number, dropped);
      this.#put(log, start, this.#carries);
    }
    this.end = Math.max(this.end, end);
    this.isComplete = log.isComplete;
    this.#changed();
  }

  #follow(): void {
    this.#stop = follow(tailDocument, {
      variables: () => ({
        job: this.of.jobId,
        attempt: this.of.number,
        after: positionBehind(this.of.attemptId, this.end),
        ...EVERYTHING,
      }),
      next: ({ jobLog }) => {
        this.#take(jobLog);
      },
      started: () => {
        this.isCut = false;
      },
      lost: () => {
        this.isCut = true;
      },
      refused: (problem) => {
        if (comesAgain(problem)) {
          this.isCut = true;
          return 'again';
        }
        this.#isTailRefused = true;
        this.problem = problem;
        return 'stop';
      },
      complete: () => {
        this.isComplete = true;
      },
    });
  }

  #window(index: number): Window {
    const known = this.#windows.get(index);
    if (known) return known;
    const window: Window = { lines: [], isWhole: false, isAsked: false, characters: 0 };
    this.#windows.set(index, window);
    this.#forget();
    return window;
  }

  #use(index: number, window: Window): void {
    this.#windows.delete(index);
    this.#windows.set(index, window);
  }

  /** Lets go of the windows that were not used for longest. */
  #forget(): void {
    let characters = 0;
    for (const window of this.#windows.values()) characters += window.characters;
    for (const [index, window] of this.#windows) {
      if (this.#windows.size <= 4) break;
      if (this.#windows.size <= WINDOWS_MAX && characters <= CHARACTERS_MAX) break;
      if (window.isAsked) continue;
      characters -= window.characters;
      this.#windows.delete(index);
    }
  }

  /** One picture for all that comes within a frame. */
  #changed(): void {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = null;
      this.#version = untrack(() => this.#version) + 1;
    });
  }
}
