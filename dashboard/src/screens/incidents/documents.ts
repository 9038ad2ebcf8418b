// Owns what the list of incidents asks.
import { graphql } from '$lib/api/graphql';
import { incidentRow } from '$lib/live/fragments';

/** `standing` is what the sentence counts, whatever the filters are. */
export const incidentsDocument = graphql(
  `
    query Incidents($first: Int!, $filter: IncidentFilter!) {
      eventCursor
      standing: incidents(first: 200) {
        nodes {
          id
          status
        }
        pageInfo {
          hasNextPage
        }
      }
      incidents(first: $first, filter: $filter) {
        nodes {
          ...IncidentRow
          days: histogram(buckets: 14, window: "P14D")
        }
        pageInfo {
          hasNextPage
          endCursor
        }
      }
    }
  `,
  [incidentRow],
);

/** Another page behind the last one. */
export const olderDocument = graphql(
  `
    query OlderIncidents($first: Int!, $after: String, $filter: IncidentFilter!) {
      eventCursor
      incidents(first: $first, after: $after, filter: $filter) {
        nodes {
          ...IncidentRow
          days: histogram(buckets: 14, window: "P14D")
        }
        pageInfo {
          hasNextPage
          endCursor
        }
      }
    }
  `,
  [incidentRow],
);

/** The names that the filter by task offers. */
export const taskNamesDocument = graphql(`
  query IncidentTaskNames {
    eventCursor
    tasks(first: 200) {
      nodes {
        id
        name
      }
    }
  }
`);
