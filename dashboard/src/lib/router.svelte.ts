// Owns addresses: which screen a path means, how a path is written, and the filters in the query string. Everything a
// person could want to come back to or to send to somebody is in the address.
import { untrack } from 'svelte';

/** Each screen's path; a part that begins with a colon is its parameter. */
export const paths = {
  now: '/',
  jobs: '/jobs',
  job: '/jobs/:id',
  tasks: '/tasks',
  task: '/tasks/:name',
  schedules: '/schedules',
  schedule: '/schedules/:name',
  queues: '/queues',
  workers: '/workers',
  incidents: '/incidents',
  incident: '/incidents/:id',
  access: '/access',
  system: '/system',
} as const;

export type RouteName = keyof typeof paths;
type Parameters<Path extends string> = Path extends `${string}:${infer Name}` ? Record<Name, string> : undefined;
export type RouteParameters<Name extends RouteName> = Parameters<(typeof paths)[Name]>;

export interface Route {
  readonly name: RouteName;
  readonly parameter: string | null;
}

type Rest<Name extends RouteName> =
  RouteParameters<Name> extends undefined
    ? [parameters?: undefined, query?: Record<string, string>]
    : [parameters: RouteParameters<Name>, query?: Record<string, string>];

/** The address of a screen: `href('job', { id }, { tab: 'log' })`. */
export function href<Name extends RouteName>(name: Name, ...[parameters, query]: Rest<Name>): string {
  const path = paths[name].replace(/:(\w+)/, (_, key: string) =>
    encodeURIComponent((parameters as Record<string, string> | undefined)?.[key] ?? ''),
  );
  const search = new URLSearchParams(query).toString();
  return search ? `${path}?${search}` : path;
}

/** Which screen a path means; null for none. */
export function match(path: string): Route | null {
  const clean = path.length > 1 ? path.replace(/\/$/, '') : path;
  for (const [name, pattern] of Object.entries(paths) as [RouteName, string][]) {
    const expression = new RegExp(`^${pattern.replace(/:\w+/, '([^/]+)')}$`);
    const found = expression.exec(clean);
    if (found) return { name, parameter: found[1] === undefined ? null : decode(found[1]) };
  }
  return null;
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Told when the page would go elsewhere, instead of that: `leave` goes there. */
type Guard = (leave: () => void) => void;

class Router {
  #path = $state.raw('/');
  #search = $state.raw('');
  /** What stands in the address. */
  readonly route = $derived(match(this.#path));
  readonly query = $derived(new URLSearchParams(this.#search));

  get path(): string {
    return this.#path;
  }

  #guard: Guard | null = null;

  /** Has somebody asked before the page goes to another address. Gives the way to stop that. */
  guard(guard: Guard): () => void {
    this.#guard = guard;
    return () => {
      if (this.#guard === guard) this.#guard = null;
    };
  }

  /** Follows Back, Forward and every link of the page to one of its own screens. Call once. */
  start(): void {
    this.#read();
    addEventListener('popstate', () => {
      const address = this.#path + this.#search;
      const isHeld = this.#ask(() => {
        history.back();
      });
      // The browser has gone back already.
      if (isHeld) history.pushState(null, '', address);
      else this.#read();
    });
    document.addEventListener('click', (event) => {
      const target = ownLink(event);
      if (target === null) return;
      event.preventDefault();
      this.go(target);
    });
  }

  /** Goes to an address of the page. */
  go(address: string, how: 'push' | 'replace' = 'push'): void {
    const here = location.pathname + location.search;
    if (address === here) return;
    const isHeld = this.#ask(() => {
      this.go(address, how);
    });
    if (isHeld) return;
    if (how === 'replace') history.replaceState(null, '', address);
    else history.pushState(null, '', address);
    const before = this.#path;
    this.#read();
    if (before !== this.#path) scrollTo(0, 0);
  }

  /** Whether the page must stay until somebody has answered. */
  #ask(leave: () => void): boolean {
    const guard = this.#guard;
    guard?.(() => {
      this.#guard = null;
      leave();
    });
    return guard !== null;
  }

  #read(): void {
    this.#path = location.pathname;
    this.#search = location.search;
  }
}

/** The address that a plain click on a link of the page leads to; null when the browser should do it. */
function ownLink(event: MouseEvent): string | null {
  if (event.defaultPrevented || event.button !== 0) return null;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return null;
  const link = event.target instanceof Element ? event.target.closest('a') : null;
  if (!link || link.target || link.hasAttribute('download') || link.origin !== location.origin) return null;
  const isSamePage = link.pathname === location.pathname && link.search === location.search && link.hash;
  return match(link.pathname) && !isSamePage ? link.pathname + link.search : null;
}

export const router = new Router();
export const go = (address: string, how: 'push' | 'replace' = 'push'): void => {
  router.go(address, how);
};

/** How one filter is written in the query string. */
export interface Part<T> {
  readonly read: (raw: string | null) => T;
  /** null leaves it out: it is as by default. */
  readonly write: (value: T) => string | null;
}

/** A text; empty by default. */
export const text: Part<string> = { read: (raw) => raw ?? '', write: (value) => value || null };
/** A text that is absent by default. */
export const optional: Part<string | null> = { read: (raw) => raw, write: (value) => value };
/** Yes or no; no by default. */
export const flag: Part<boolean> = { read: (raw) => raw === '1', write: (value) => (value ? '1' : null) };
/** A whole number that is absent by default. */
export const whole: Part<number | null> = {
  read: (raw) => (raw !== null && /^\d+$/.test(raw) ? Number(raw) : null),
  write: (value) => (value === null ? null : String(value)),
};
/** One of some words, the first one by default. */
export function choice<const T extends string>(words: readonly [T, ...T[]]): Part<T> {
  const known = (raw: string | null): raw is T => words.includes(raw as T);
  return { read: (raw) => (known(raw) ? raw : words[0]), write: (value) => (value === words[0] ? null : value) };
}
/** Some of some words, none by default. */
export function several<const T extends string>(words: readonly T[]): Part<readonly T[]> {
  return {
    read: (raw) => (raw ?? '').split(',').filter((word): word is T => words.includes(word as T)),
    write: (value) => value.join(',') || null,
  };
}
/** Any words, none by default. */
export const words: Part<readonly string[]> = {
  read: (raw) => (raw ? raw.split(',').map(decode) : []),
  write: (value) => value.map((word) => word.replaceAll('%', '%25').replaceAll(',', '%2C')).join(',') || null,
};

type Values<Parts> = { [Key in keyof Parts]: Parts[Key] extends Part<infer T> ? T : never };

export interface Query<Parts> {
  /** The filters as they stand in the address; reactive. */
  readonly values: Values<Parts>;
  /** Changes some of them. `replace` for what one types letter by letter, so that Back leaves it in one step. */
  set(change: Partial<Values<Parts>>, how?: 'push' | 'replace'): void;
  /** The address with some of them changed, for a link. */
  href(change: Partial<Values<Parts>>): string;
}

/** The filters of a screen, kept in the address: `const filters = useQuery({ state: several(states), text })`. */
export function useQuery<Parts extends object>(parts: Parts): Query<Parts> {
  const each = Object.entries(parts) as [string, Part<unknown>][];
  const values = $derived(
    Object.fromEntries(each.map(([key, part]) => [key, part.read(router.query.get(key))])) as Values<Parts>,
  );
  const address = (change: Record<string, unknown>) => {
    const query = new URLSearchParams(router.query);
    for (const [key, part] of each) {
      if (!(key in change)) continue;
      const written = part.write(change[key]);
      if (written === null) query.delete(key);
      else query.set(key, written);
    }
    const search = query.toString();
    return search ? `${router.path}?${search}` : router.path;
  };
  return {
    get values() {
      return values;
    },
    set(change, how = 'push') {
      untrack(() => {
        router.go(address(change), how);
      });
    },
    href: (change) => address(change),
  };
}
