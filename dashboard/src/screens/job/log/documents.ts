// Owns what the log asks: pages of an attempt, its newest lines, its live tail, and where a text stands in it. The
// attempt is asked without its id on purpose: lines are no things that live on, and the page keeps few of them.
import { graphql, type ResultOf } from '$lib/api/graphql';

export const logBatch = graphql(`
  fragment LogBatchParts on LogBatch @_unmask {
    cursor
    hasMore
    isComplete
    droppedBytes
    isForgotten
    lines {
      cursor
      at
      stream
      text
      isTruncated
      droppedBefore
    }
  }
`);
export type LogBatch = ResultOf<typeof logBatch>;

export const pageDocument = graphql(
  `
    query LogPage(
      $attempt: ID!
      $first: Int!
      $after: LogCursor
      $streams: [LogStream!]
      $grep: String
      $onlyErrors: Boolean
    ) {
      eventCursor
      node(id: $attempt) {
        __typename
        ... on Attempt {
          log(first: $first, after: $after, streams: $streams, grep: $grep, onlyErrors: $onlyErrors) {
            ...LogBatchParts
          }
        }
      }
    }
  `,
  [logBatch],
);

/** What is said when the attempt is not there any more. */
export const NO_ATTEMPT = 'The daemon does not know this attempt any more.';

export const endDocument = graphql(
  `
    query LogEnd($attempt: ID!, $last: Int!, $before: LogCursor, $grep: String) {
      eventCursor
      node(id: $attempt) {
        __typename
        ... on Attempt {
          log(last: $last, before: $before, grep: $grep) {
            ...LogBatchParts
          }
        }
      }
    }
  `,
  [logBatch],
);

export const tailDocument = graphql(
  `
    subscription LogTail(
      $job: ID!
      $attempt: Int!
      $after: LogCursor
      $streams: [LogStream!]
      $grep: String
      $onlyErrors: Boolean
    ) {
      jobLog(id: $job, attempt: $attempt, after: $after, streams: $streams, grep: $grep, onlyErrors: $onlyErrors) {
        ...LogBatchParts
      }
    }
  `,
  [logBatch],
);
