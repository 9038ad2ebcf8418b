// Owns the list of the jobs screen: its first page, the next ones, and what came in while somebody reads further down.
// At its top the list is true by itself; below it stands still and says how much is new.
import { untrack } from 'svelte';
import type { Problem } from '$lib/api/problem';
import { clock } from '$lib/live/clock.svelte';
import type { LiveEvent } from '$lib/live/feed';
import type { JobRow } from '$lib/live/fragments';
import { live } from '$lib/live/live.svelte';
import { jobsDocument, type JobFilter } from './documents';
import { fits, jobFilter, moves, sorts, type Wanted } from './filter';
import { EMPTY, ofPage, withHead, withNextBehind, type Listed, type Page } from './pages';

const TYPES = ['JOB_CREATED', 'JOB_STATE_CHANGED'] as const;
const FIRST = 50;
const NEXT = 100;
/** Rows that a list grows to; further down one goes by time. */
export const ROWS_MAX = 10_000;
/** Above this the list stands at its top. */
const TOP_PX = 120;
/** As many are counted as new. */
export const NEWS_MAX = 999;

interface Asked extends Wanted {
  readonly filter: JobFilter;
}

/** Make one while a component is made: it ends with the component. */
export class JobList {
  #list = $state.raw<Listed<JobRow>>(EMPTY);
  #news = $state.raw<ReadonlySet<string>>(new Set());
  #nextProblem = $state.raw<Problem | null>(null);
  /** Whether jobs may fit of which the page cannot know it. */
  isUnsure = $state(false);
  /** Whether it is looked further, as somebody asked. */
  isLooking = $state(false);
  readonly #asked = $derived.by((): Asked => {
    const { filters: chosen, sort } = this.wanted();
    const filters = chosen.state.length > 0 ? chosen : { ...chosen, state: sorts[sort].states };
    // A range of the last hours begins where it began when it was asked for.
    return { filters, sort, filter: untrack(() => jobFilter(filters, clock.exact())) };
  });
  readonly #load = live.load(jobsDocument, () => this.#variables(FIRST, null), {
    touchedBy: { types: TYPES, where: (event) => this.#isTouched(event) },
  });
  #ids: ReadonlySet<string> = new Set();
  #shownFor: Asked | null = null;
  #isAskingNext = false;
  /** Whether the screen is gone: what is answered behind it is nobody's. */
  #isLeft = false;

  readonly rows = $derived(this.#list.rows);
  readonly isLoading = $derived(this.#load.isLoading);
  readonly isAnswered = $derived(this.#load.data !== null);
  readonly problem = $derived(this.#load.problem ?? this.#nextProblem);
  /** How many jobs fit that are not in the list. */
  readonly newCount = $derived(this.#news.size);
  /** How far it was looked for what fits, when not to the end. */
  readonly searchedUntil = $derived(this.#list.searchedUntil);
  /** What the daemon is asked. */
  readonly filter = $derived(this.#asked.filter);

  /** `isBusy`: the list stands still also at its top, since somebody works on its rows. */
  constructor(
    private readonly wanted: () => Wanted,
    private readonly isBusy: () => boolean,
  ) {
    $effect(() => {
      const page = this.#load.data?.jobs;
      if (page) {
        untrack(() => {
          this.#take(page);
        });
      }
    });
    $effect(() => {
      addEventListener('scroll', this.#back, { passive: true });
      return () => {
        removeEventListener('scroll', this.#back);
        this.#isLeft = true;
      };
    });
  }

  /** Brings the next page, unless somebody must ask to look further for it. */
  async next(): Promise<void> {
    if (this.#list.searchedUntil === null) await this.#bring();
  }

  /** Looks further until something is found, or all was looked at. */
  async further(): Promise<void> {
    const wanted = this.#asked;
    const { length } = this.#list.rows;
    this.isLooking = true;
    do await this.#bring();
    while (
      !this.#isLeft &&
      wanted === this.#asked &&
      this.isLooking &&
      this.#nextProblem === null &&
      this.#list.searchedUntil !== null &&
      this.#list.rows.length === length
    );
    this.isLooking = false;
  }

  async #bring(): Promise<void> {
    if (this.#isLeft) return;
    const wanted = this.#asked;
    const { hasNext, rows, endCursor } = this.#list;
    if (this.#isAskingNext || !hasNext || rows.length >= ROWS_MAX || this.#shownFor !== wanted) return;
    this.#isAskingNext = true;
    const { data, problem } = await live.once(jobsDocument, this.#variables(NEXT, endCursor));
    this.#isAskingNext = false;
    if (this.#isLeft || wanted !== this.#asked) return;
    this.#nextProblem = problem;
    if (!data) return;
    const next = withNextBehind(this.#list, endCursor, data.jobs);
    if (next) this.#show(next);
    // The list began anew meanwhile: what is wanted lies behind its end.
    else await this.#bring();
  }

  /** Goes to the top and shows what is new. */
  refresh(): void {
    this.#forget();
    scrollTo(0, 0);
    this.#load.reload();
  }

  /** Asks again what failed. */
  again(): void {
    if (this.#load.problem) this.#load.reload();
    else void this.#bring();
  }

  #variables(first: number, after: string | null) {
    return { first, after, filter: this.#asked.filter, orderBy: sorts[this.#asked.sort].order };
  }

  #isTouched(event: LiveEvent): boolean {
    const job = event.subject as unknown as JobRow | null;
    if (job === null) return false;
    const isListed = this.#ids.has(job.id);
    const fit = fits(this.#asked.filters, job, clock.exact());
    if (!moves(event, fit, isListed, this.#asked)) return false;
    if (scrollY < TOP_PX && !this.isBusy()) return true;
    if (fit === 'unknown') this.isUnsure = true;
    else if (fit === 'yes' && !isListed && this.#news.size < NEWS_MAX) this.#news = new Set(this.#news).add(job.id);
    return false;
  }

  #take(page: Page<JobRow>): void {
    // An answer to earlier filters never comes here: it is the answer to what is asked now.
    const isSame = this.#shownFor === this.#asked;
    this.#show(isSame ? withHead(this.#list, page, this.#asked.sort !== 'newest') : ofPage(page));
    this.#shownFor = this.#asked;
    this.#nextProblem = null;
    this.#forget();
  }

  #show(next: Listed<JobRow>): void {
    this.#list = next;
    this.#ids = new Set(next.rows.map((row) => row.id));
  }

  #forget(): void {
    this.#news = new Set();
    this.isUnsure = false;
  }

  /** Who scrolls back to the top sees what is new without a further word. */
  #back = () => {
    if (scrollY >= TOP_PX || (this.#news.size === 0 && !this.isUnsure) || this.isBusy()) return;
    this.#forget();
    this.#load.touch();
  };
}
