// Owns how the jobs around a job are laid out: columns by who waits for whom, rows so that lines cross little. Pure.

export interface GraphJob {
  readonly id: string;
  readonly before?: readonly GraphJob[] | null;
  readonly after?: readonly GraphJob[] | null;
}
export interface Place<Job> {
  readonly job: Job;
  readonly column: number;
  readonly row: number;
}
export interface Link {
  /** It comes first; the other one waits for it. */
  readonly from: string;
  readonly to: string;
}
export interface Layout<Job> {
  readonly places: readonly Place<Job>[];
  readonly links: readonly Link[];
  readonly columns: number;
  readonly rows: number;
}

/** Steps away from the job that are shown. */
const DEPTH = 2;

/** The jobs at most two steps away and the lines between them. */
export function around<Job extends GraphJob>(center: Job): { jobs: Map<string, Job>; links: Link[] } {
  const jobs = new Map<string, Job>([[center.id, center]]);
  const links = new Map<string, Link>();
  const walk = (job: Job, side: 'before' | 'after', depth: number) => {
    if (depth === 0) return;
    for (const other of (job[side] ?? []) as readonly Job[]) {
      if (!jobs.has(other.id)) jobs.set(other.id, other);
      const link = side === 'before' ? { from: other.id, to: job.id } : { from: job.id, to: other.id };
      links.set(`${link.from} ${link.to}`, link);
      walk(other, side, depth - 1);
    }
  };
  walk(center, 'before', DEPTH);
  walk(center, 'after', DEPTH);
  return { jobs, links: [...links.values()] };
}

/** Places each job behind all that it waits for. */
export function layout<Job extends GraphJob>(center: Job): Layout<Job> {
  const { jobs, links } = around(center);
  const columnOf = columns([...jobs.keys()], links);
  const sparse: string[][] = [];
  for (const id of jobs.keys()) (sparse[columnOf.get(id) ?? 0] ??= []).push(id);
  const all = sparse.filter((column) => column.length > 0);
  untangle(all, links);
  const rows = Math.max(...all.map((column) => column.length));
  const places = all.flatMap((column, index) =>
    column.map((id, row) => ({
      job: jobs.get(id) as Job,
      column: index,
      // Short columns stand in the middle.
      row: row + (rows - column.length) / 2,
    })),
  );
  return { places, links, columns: all.length, rows };
}

/** The longest way from a job that waits for none. Jobs cannot wait in a circle; a bound keeps it true all the same. */
function columns(ids: readonly string[], links: readonly Link[]): Map<string, number> {
  const column = new Map(ids.map((id) => [id, 0]));
  let isSettled = false;
  for (let round = 0; round < ids.length && !isSettled; round += 1) {
    isSettled = true;
    for (const { from, to } of links) {
      const least = (column.get(from) ?? 0) + 1;
      if ((column.get(to) ?? 0) < least) {
        column.set(to, least);
        isSettled = false;
      }
    }
  }
  return column;
}

/** Sorts each column by the middle of what it is joined with in the one before, and back again. */
function untangle(all: string[][], links: readonly Link[]): void {
  const sort = (column: string[], beside: readonly string[], neighbours: (id: string) => string[]) => {
    const middle = new Map(
      column.map((id, index) => {
        const rows = neighbours(id)
          .map((other) => beside.indexOf(other))
          .filter((row) => row >= 0);
        return [id, rows.length === 0 ? index : rows.reduce((sum, row) => sum + row, 0) / rows.length];
      }),
    );
    column.sort((left, right) => (middle.get(left) ?? 0) - (middle.get(right) ?? 0));
  };
  const before = (id: string) => links.filter((link) => link.to === id).map((link) => link.from);
  const after = (id: string) => links.filter((link) => link.from === id).map((link) => link.to);
  for (let index = 1; index < all.length; index += 1) sort(all[index] ?? [], all[index - 1] ?? [], before);
  for (let index = all.length - 2; index >= 0; index -= 1) sort(all[index] ?? [], all[index + 1] ?? [], after);
}
