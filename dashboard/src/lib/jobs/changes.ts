// Owns what can be asked of one job, whichever screen it stands on.
import { graphql } from '$lib/api/graphql';
import { jobRow } from '$lib/live/fragments';

/** The highest priority: the job goes first in its queue. */
export const FIRST = 100;

export const cancelDocument = graphql(
  `
    mutation CancelJob($input: JobCancelInput!) {
      jobCancel(input: $input) {
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

export const retryDocument = graphql(
  `
    mutation RetryJob($input: JobRetryInput!) {
      jobRetry(input: $input) {
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

export const holdDocument = graphql(
  `
    mutation HoldJob($input: JobHoldInput!) {
      jobHold(input: $input) {
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

export const releaseDocument = graphql(
  `
    mutation ReleaseJob($input: JobReleaseInput!) {
      jobRelease(input: $input) {
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

export const updateDocument = graphql(
  `
    mutation UpdateJob($input: JobUpdateInput!) {
      jobUpdate(input: $input) {
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
