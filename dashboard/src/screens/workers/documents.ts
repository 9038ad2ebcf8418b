// Owns what the workers screen asks.
import { graphql } from '$lib/api/graphql';
import { jobRow, workerRow } from '$lib/live/fragments';

export const workersDocument = graphql(
  `
    query Workers($first: Int!) {
      eventCursor
      workers(first: $first) {
        nodes {
          ...WorkerRow
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
        }
      }
    }
  `,
  [workerRow, jobRow],
);
