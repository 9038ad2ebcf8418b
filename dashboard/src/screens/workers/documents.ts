// Owns what the workers screen asks.
import { graphql } from '$lib/api/graphql';
import { jobRow, workerRow } from '$lib/live/fragments';

export const workersDocument = graphql(
  `
    query Workers($first: Int!, $after: String) {
      eventCursor
      workers(first: $first, after: $after) {
        nodes {
          ...WorkerRow
          labels {
            key
            value
          }
          runningAttempts {
            id
            number
            startedAt
            job {
              ...JobRow
            }
          }
        }
        pageInfo {
          hasNextPage
          endCursor
        }
      }
    }
  `,
  [workerRow, jobRow],
);
