// Owns which things can be done about an incident where it stands, with their keys, and how they are written for other
// doors. What is over can only be ignored from now on: its next failure opens it by itself.
import type { IncidentStatus } from '$lib/api/graphql';
import { may } from '$lib/api/viewer.svelte';
import { copyAs, type CopyAs } from '$lib/copy-as';
import type { IncidentRow } from '$lib/live/fragments';
import { acknowledgeDocument } from '$lib/incidents/changes';
import { ignoreDocument, resolveDocument } from './documents';

export type Action = 'acknowledge' | 'resolve' | 'ignore' | 'retry';

export const actionKeys: Readonly<Record<Action, string>> = { acknowledge: 'a', resolve: 'e', ignore: 'i', retry: 'r' };

/** What the button says. */
export function actionText(action: Action, status: IncidentStatus): string {
  switch (action) {
    case 'acknowledge':
      return { OPEN: 'Acknowledge', ACKNOWLEDGED: 'Assign', IGNORED: 'Look at it again', RESOLVED: 'Acknowledge' }[
        status
      ];
    case 'resolve':
      return 'Resolve';
    case 'ignore':
      return 'Ignore';
    case 'retry':
      return 'Retry its jobs';
  }
}

/** Why it cannot be done now; null when it can. */
export function unless(action: Action, incident: IncidentRow): string | null {
  if (action === 'retry') {
    if (incident.subsystem !== null) return 'A part of the daemon failed, no job did.';
    return may('ENQUEUE') ? null : 'Your token lacks the grant enqueue.';
  }
  if (!may('OPERATE')) return 'Your token lacks the grant operate.';
  const isOver = incident.status === 'RESOLVED' && action !== 'ignore';
  return isOver ? 'It is resolved: the next failure opens it again.' : null;
}

/** The most fitting next step, written as the CLI, curl and GraphQL have it. */
export function copyOf({ id, status }: IncidentRow): CopyAs {
  const input = { id };
  if (status === 'OPEN') return copyAs(['beadle', 'incidents', 'ack', id], acknowledgeDocument, { input });
  if (status === 'RESOLVED') return copyAs(['beadle', 'incidents', 'ignore', id], ignoreDocument, { input });
  return copyAs(['beadle', 'incidents', 'resolve', id], resolveDocument, { input });
}
