// Owns what the run dialog asks and sends.
import { graphql } from '$lib/api/graphql';
import { jobRow } from '$lib/live/fragments';

export const runChoicesDocument = graphql(`
  query RunChoices {
    eventCursor
    queues(first: 200) {
      nodes {
        id
        name
      }
    }
  }
`);

export const runDocument = graphql(
  `
    mutation RunCommand($input: JobEnqueueInput!) {
      jobEnqueue(input: $input) {
        job {
          ...JobRow
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
  [jobRow],
);
