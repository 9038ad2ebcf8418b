// Owns which jobs are selected: some by id, or all that fit the filter, also those that are not loaded. Pure.

export interface Selection {
  readonly ids: ReadonlySet<string>;
  /** Everything that fits the filter; `ids` are then those of it that are loaded. */
  readonly isAll: boolean;
  /** Where a range begins. */
  readonly anchor: string | null;
}

export const NOTHING: Selection = { ids: new Set(), isAll: false, anchor: null };
/** As many as the daemon takes by id in one request. */
export const IDS_MAX = 200;

export const isSelected = (selection: Selection, id: string): boolean => selection.isAll || selection.ids.has(id);
export const isEmpty = (selection: Selection): boolean => !selection.isAll && selection.ids.size === 0;

/** One more or one less. One less of all leaves the others that are loaded. */
export function toggled(selection: Selection, id: string, loaded: readonly string[]): Selection {
  const ids = new Set(selection.isAll ? loaded.slice(0, IDS_MAX) : selection.ids);
  if (!ids.delete(id)) ids.add(id);
  return { ids, isAll: false, anchor: id };
}

/** Everything from the anchor to this one, beside what is selected already. Without an anchor only this one. */
export function extended(selection: Selection, id: string, loaded: readonly string[]): Selection {
  const [from, to] = [selection.anchor === null ? -1 : loaded.indexOf(selection.anchor), loaded.indexOf(id)];
  if (from < 0 || to < 0) return { ids: new Set(selection.ids).add(id), isAll: false, anchor: id };
  const between = loaded.slice(Math.min(from, to), Math.max(from, to) + 1);
  return {
    ids: new Set([...selection.ids, ...between].slice(0, IDS_MAX)),
    isAll: false,
    anchor: selection.anchor,
  };
}

/** What is loaded. */
export function ofLoaded(loaded: readonly string[]): Selection {
  return { ids: new Set(loaded.slice(0, IDS_MAX)), isAll: false, anchor: null };
}

/** All that fit, loaded or not. */
export function everything(loaded: readonly string[]): Selection {
  return { ids: new Set(loaded), isAll: true, anchor: null };
}
