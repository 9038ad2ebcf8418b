// Owns what the screen of a task asks and changes.
import { graphql, type ResultOf } from '$lib/api/graphql';
import { jobRow, scheduleRow, taskRow } from '$lib/live/fragments';

/** All that a revision says. It has no id and never changes. */
export const revisionWhole = graphql(`
  fragment RevisionWhole on TaskRevision @_unmask {
    revision
    description
    priority
    timeout
    idleTimeout
    maxTimeout
    killGrace
    isRestartable
    mergeOutput
    runsOn {
      key
      value
    }
    concurrencyLimit
    parametersSchema
    actor
    createdAt
    command {
      argv
      script
      shell
      handler
      workingDirectory
      environment {
        name
        isSecret
        value
      }
      inheritEnvironment
    }
    retryPolicy {
      maxAttempts
      initialDelay
      maxDelay
      factor
      retryOn
      exitCodes
      signals
      retriesTemporaryFailure
    }
    queue {
      id
      name
    }
  }
`);
export type Revision = ResultOf<typeof revisionWhole>;

export const taskDocument = graphql(
  `
    query Task($name: String!, $names: [String!]) {
      eventCursor
      task(ref: { name: $name }) {
        ...TaskRow
        record: statistics {
          succeededCount
          failedCount
          medianDuration
          p95Duration
          recent(first: 50) {
            id
            state
            startedAt
            finishedAt
          }
        }
        schedules {
          ...ScheduleRow
        }
        newest: revisions(first: 1) {
          nodes {
            ...RevisionWhole
          }
        }
      }
      jobCounts(filter: { tasks: $names, states: [RUNNING, QUEUED, SCHEDULED, HELD, BLOCKED, RETRYING] }) {
        held
        blocked
        scheduled
        queued
        running
        retrying
        isCapped
      }
    }
  `,
  [taskRow, scheduleRow, revisionWhole],
);
export type ShownTask = NonNullable<ResultOf<typeof taskDocument>['task']>;

export const revisionsDocument = graphql(
  `
    query TaskRevisions($name: String!, $first: Int!, $after: String) {
      eventCursor
      task(ref: { name: $name }) {
        id
        history: revisions(first: $first, after: $after) {
          nodes {
            ...RevisionWhole
          }
          pageInfo {
            hasNextPage
            endCursor
          }
        }
      }
    }
  `,
  [revisionWhole],
);

/** What the editor offers to choose from. */
export const choicesDocument = graphql(`
  query EditorChoices {
    eventCursor
    queues(first: 200) {
      nodes {
        id
        name
      }
    }
    daemon {
      handlers
    }
  }
`);

export const startersDocument = graphql(`
  query Starters {
    eventCursor
    tokens(first: 200) {
      nodes {
        id
        name
        revokedAt
        expiresAt
        lastUsedAt
        grants {
          verb
          tasks
          ownJobsOnly
        }
      }
      pageInfo {
        hasNextPage
      }
    }
  }
`);

export const enqueueDocument = graphql(
  `
    mutation RunTask($input: JobEnqueueInput!) {
      jobEnqueue(input: $input) {
        job {
          ...JobRow
        }
        deduplicated
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

export const putDocument = graphql(
  `
    mutation PutTask($input: TaskPutInput!) {
      taskPut(input: $input) {
        task {
          ...TaskRow
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
  [taskRow],
);

export const archiveDocument = graphql(
  `
    mutation ArchiveTask($input: TaskArchiveInput!) {
      taskArchive(input: $input) {
        task {
          ...TaskRow
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
  [taskRow],
);
