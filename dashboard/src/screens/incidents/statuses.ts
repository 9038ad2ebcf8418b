// Owns which statuses the list of incidents shows when nobody asks for others: those that somebody should look at.
import type { IncidentStatus } from '$lib/api/graphql';

export const STATUSES = ['OPEN', 'ACKNOWLEDGED', 'RESOLVED', 'IGNORED'] as const satisfies readonly IncidentStatus[];
export const USUAL: readonly IncidentStatus[] = ['OPEN', 'ACKNOWLEDGED'];

/** What stands in the address: nothing when it is as usual. */
export function written(chosen: readonly IncidentStatus[]): readonly IncidentStatus[] {
  const isUsual = chosen.length === USUAL.length && USUAL.every((status) => chosen.includes(status));
  return isUsual ? [] : STATUSES.filter((status) => chosen.includes(status));
}
