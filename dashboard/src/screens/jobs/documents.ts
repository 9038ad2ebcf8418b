// Owns what the jobs screen asks and changes.
import { graphql, type VariablesOf } from '$lib/api/graphql';
import { jobRow, jobWait } from '$lib/live/fragments';

export const jobsDocument = graphql(
  `
    query Jobs($first: Int!, $after: String, $filter: JobFilter, $orderBy: JobOrder) {
      eventCursor
      jobs(first: $first, after: $after, filter: $filter, orderBy: $orderBy) {
        nodes {
          ...JobRow
        }
        pageInfo {
          hasNextPage
          endCursor
        }
        searchedUntil
      }
    }
  `,
  [jobRow],
);

/** `fitting`: with the states too, for when counting stopped before it came to them. */
export const jobCountsDocument = graphql(`
  query JobCounts($filter: JobFilter, $fitting: JobFilter, $isCounted: Boolean!) {
    eventCursor
    jobCounts(filter: $filter) {
      held
      blocked
      scheduled
      queued
      running
      retrying
      succeeded
      failed
      cancelled
      expired
      skipped
      isCapped
    }
    fitting: jobs(first: 1, filter: $fitting) @include(if: $isCounted) {
      totalCount
    }
  }
`);

/** Why the rows that are seen wait, and what those that failed were counted into. */
export const waitsDocument = graphql(
  `
    query JobWaits($ids: [ID!], $first: Int!, $isNeeded: Boolean!) {
      eventCursor
      jobs(first: $first, filter: { ids: $ids }) @include(if: $isNeeded) {
        nodes {
          ...JobWait
          incident {
            id
          }
        }
      }
    }
  `,
  [jobWait],
);

/** What the filters offer. */
export const choicesDocument = graphql(`
  query JobFilterChoices {
    eventCursor
    tasks(first: 200) {
      nodes {
        id
        name
      }
    }
    queues(first: 200) {
      nodes {
        id
        name
      }
    }
  }
`);

export const bulkCancelDocument = graphql(`
  mutation CancelJobs($input: JobBulkInput!) {
    jobBulkCancel(input: $input) {
      matchedCount
      changedCount
      cursor
      userErrors {
        code
        message
        path
      }
    }
  }
`);

export const bulkRetryDocument = graphql(`
  mutation RetryJobs($input: JobBulkInput!) {
    jobBulkRetry(input: $input) {
      matchedCount
      changedCount
      cursor
      userErrors {
        code
        message
        path
      }
    }
  }
`);

export type JobFilter = NonNullable<VariablesOf<typeof jobsDocument>['filter']>;
export type JobOrder = NonNullable<VariablesOf<typeof jobsDocument>['orderBy']>;
