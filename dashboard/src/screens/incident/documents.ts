// Owns what the incident screen asks, and the four things that one does about an incident.
import { graphql } from '$lib/api/graphql';
import { incidentRow, jobRow } from '$lib/live/fragments';

export const incidentDocument = graphql(
  `
    query Incident($id: ID!) {
      eventCursor
      incident(id: $id) {
        ...IncidentRow
        fingerprint
        task {
          id
          name
        }
        hours: histogram(buckets: 24, window: "P1D")
        days: histogram(buckets: 14, window: "P14D")
        recent: jobs(first: 20) {
          nodes {
            ...JobRow
            tries: attempts(first: 50) {
              nodes {
                id
                number
                incident {
                  id
                }
              }
            }
          }
          pageInfo {
            hasNextPage
          }
        }
      }
      failed: jobCounts(filter: { incidentId: $id, states: [FAILED] }) {
        failed
        isCapped
      }
    }
  `,
  [incidentRow, jobRow],
);

/** The end of what one attempt wrote. */
export const sampleDocument = graphql(`
  query IncidentSample($id: ID!) {
    eventCursor
    node(id: $id) {
      ... on Attempt {
        id
        number
        sample: log(last: 25) {
          hasMore
          isForgotten
          droppedBytes
          lines {
            cursor
            at
            stream
            text
          }
        }
      }
    }
  }
`);

export const resolveDocument = graphql(
  `
    mutation ResolveIncident($input: IncidentResolveInput!) {
      incidentResolve(input: $input) {
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

export const ignoreDocument = graphql(
  `
    mutation IgnoreIncident($input: IncidentIgnoreInput!) {
      incidentIgnore(input: $input) {
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

/** How many jobs a retry may touch. */
export const failedDocument = graphql(`
  query IncidentFailed($id: ID!) {
    eventCursor
    failed: jobCounts(filter: { incidentId: $id, states: [FAILED] }) {
      failed
      isCapped
    }
  }
`);

export const retryDocument = graphql(`
  mutation RetryIncident($input: IncidentRetryInput!) {
    incidentRetry(input: $input) {
      matchedCount
      retriedCount
      cursor
      userErrors {
        code
        message
        path
      }
    }
  }
`);
