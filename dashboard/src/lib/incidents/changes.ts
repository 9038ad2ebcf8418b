// Owns what more than one screen asks of an incident.
import { graphql } from '$lib/api/graphql';
import { incidentRow } from '$lib/live/fragments';

export const acknowledgeDocument = graphql(
  `
    mutation AcknowledgeIncident($input: IncidentAcknowledgeInput!) {
      incidentAcknowledge(input: $input) {
        incident {
          ...IncidentRow
        }
        cursor
        userErrors {
          code
          message
          path
        }
      }
    }
  `,
  [incidentRow],
);
