// Owns what the queues screen asks and changes.
import { graphql } from '$lib/api/graphql';
import { queueRow } from '$lib/live/fragments';

export const queuesDocument = graphql(
  `
    query Queues($first: Int!, $after: String) {
      eventCursor
      queues(first: $first, after: $after) {
        nodes {
          ...QueueRow
        }
        pageInfo {
          hasNextPage
          endCursor
        }
      }
    }
  `,
  [queueRow],
);

export const pauseDocument = graphql(
  `
    mutation PauseQueue($input: QueuePauseInput!) {
      queuePause(input: $input) {
        queue {
          ...QueueRow
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
  [queueRow],
);

export const resumeDocument = graphql(
  `
    mutation ResumeQueue($input: QueueResumeInput!) {
      queueResume(input: $input) {
        queue {
          ...QueueRow
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
  [queueRow],
);
