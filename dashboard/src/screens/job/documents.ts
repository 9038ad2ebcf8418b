// Owns what the job screen asks and changes. The command and the attempts stand under names of their own here, because
// the events of the feed bring smaller ones.
import { graphql, type ResultOf } from '$lib/api/graphql';
import { jobRow, jobWait } from '$lib/live/fragments';

export const attemptPart = graphql(`
  fragment AttemptPart on Attempt @_unmask {
    id
    number
    outcome
    failure {
      message
      errorLine
      isRetryable
    }
    ran {
      program
      directory
      environmentNames
      environmentCount
      host
      cgroup
    }
    pid
    exitCode
    signal
    startedAt
    finishedAt
    userTime
    systemTime
    peakMemoryBytes
    logBytes
    droppedLogBytes
    incident {
      id
      title
      status
    }
    worker {
      id
      name
    }
  }
`);
export type AttemptPart = ResultOf<typeof attemptPart>;

/** A job as a node of the graph. */
const graphNode = graphql(`
  fragment GraphNode on Job @_unmask {
    id
    state
    stopRequestedAt
    command {
      argv
      script
      handler
    }
    task {
      id
      name
    }
  }
`);

export const jobDocument = graphql(
  `
    query Job($id: ID!) {
      eventCursor
      job(id: $id) {
        ...JobRow
        taskRevision
        traceId
        uniqueKey
        timeout
        idleTimeout
        killGrace
        maxTimeout
        isRestartable
        runsOn {
          key
          value
        }
        onDependencyFailure
        parameters
        output
        retryPolicy {
          maxAttempts
          initialDelay
          maxDelay
          factor
        }
        whole: command {
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
        every: attempts(first: 200) {
          nodes {
            ...AttemptPart
          }
          pageInfo {
            hasNextPage
          }
        }
        retryOf {
          ...GraphNode
        }
        incident {
          id
          title
          status
        }
        schedule {
          id
          name
        }
        before: dependsOn(first: 12) {
          ...GraphNode
          before: dependsOn(first: 12) {
            ...GraphNode
          }
        }
        after: dependants(first: 12) {
          ...GraphNode
          after: dependants(first: 12) {
            ...GraphNode
          }
        }
      }
    }
  `,
  [jobRow, attemptPart, graphNode],
);
export type JobPart = NonNullable<ResultOf<typeof jobDocument>['job']>;

export const waitDocument = graphql(
  `
    query JobWhy($id: ID!) {
      eventCursor
      job(id: $id) {
        ...JobWait
      }
    }
  `,
  [jobWait],
);

export const historyDocument = graphql(`
  query JobHistory($id: ID!, $after: EventCursor, $types: [EventType!]) {
    eventCursor
    events(first: 200, after: $after, filter: { jobIds: [$id], types: $types }) {
      cursor
      hasMorePastEvents
      events {
        cursor
        type
        at
        actor
        peer
        data
      }
    }
  }
`);

export const queueNamesDocument = graphql(`
  query QueueNames {
    eventCursor
    queues(first: 200) {
      nodes {
        id
        name
      }
    }
  }
`);
