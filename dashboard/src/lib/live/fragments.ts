// Owns what the page keeps of each kind of thing: one fragment a type. The feed's subscription carries the same
// fragments, so that a field named here is live on every screen. Keep them cheap: an event asks for them again.
// A field with arguments does not belong here; on a detail screen give it an alias of its own (`day: histogram(…)`).
import { graphql, type ResultOf } from '$lib/api/graphql';

export const jobRow = graphql(`
  fragment JobRow on Job @_unmask {
    id
    eventCursor
    state
    priority
    origin
    requestedBy
    createdAt
    runAt
    startBy
    startedAt
    finishedAt
    stopRequestedAt
    estimatedFinishAt
    concurrencyKey
    labels {
      key
      value
    }
    command {
      argv
      script
      handler
    }
    task {
      id
      name
    }
    queue {
      id
      name
    }
    currentAttempt {
      id
      number
      startedAt
    }
    progress {
      fraction
      done
      total
      unit
      status
      updatedAt
      estimatedFinishAt
    }
    failure {
      outcome
      message
      exitCode
      signal
      errorLine
    }
  }
`);

export const taskRow = graphql(`
  fragment TaskRow on Task @_unmask {
    id
    name
    revision
    description
    priority
    concurrencyLimit
    createdAt
    updatedAt
    archivedAt
    command {
      argv
      script
      handler
    }
    queue {
      id
      name
    }
  }
`);

export const scheduleRow = graphql(`
  fragment ScheduleRow on Schedule @_unmask {
    id
    name
    timeZone
    overlap
    misfire
    isPaused
    pausedAt
    pausedBy
    pauseReason
    pausedUntil
    nextDueAt
    timing {
      __typename
      ... on IntervalTiming {
        every
      }
      ... on CronTiming {
        cron
      }
    }
    task {
      id
      name
    }
  }
`);

export const queueRow = graphql(`
  fragment QueueRow on Queue @_unmask {
    id
    name
    isPaused
    pauseReason
    concurrencyLimit
    rateLimit {
      starts
      per
    }
    waitingCount
    runningCount
    oldestWaitingAt
  }
`);

export const workerRow = graphql(`
  fragment WorkerRow on Worker @_unmask {
    id
    name
    version
    status
    slots
    busySlots
    startedAt
    lastSeenAt
  }
`);

export const incidentRow = graphql(`
  fragment IncidentRow on Incident @_unmask {
    id
    title
    status
    taskName
    subsystem
    outcome
    errorLine
    occurrenceCount
    firstSeenAt
    lastSeenAt
    regressedAt
    isRegression
    assignee
    note
    ignoredUntil
    ignoredUntilCount
    statusBy
    statusAt
  }
`);

/** Why a job waits. Not part of JobRow: it changes without an event of the job, so a list that shows it asks again. */
export const jobWait = graphql(`
  fragment JobWait on Job @_unmask {
    id
    blockers {
      __typename
      ... on HeldBlocker {
        message
        by
      }
      ... on PausedBlocker {
        message
        reason
        by
        at
        queue {
          id
          name
        }
      }
      ... on ScheduledBlocker {
        message
        runAt
      }
      ... on DependencyBlocker {
        message
        jobs {
          id
          state
        }
      }
      ... on ConcurrencyBlocker {
        message
        key
        limit
        holders {
          id
          state
        }
      }
      ... on RateBlocker {
        message
        until
        queue {
          id
          name
        }
      }
      ... on WorkerBlocker {
        message
        runsOn {
          key
          value
        }
      }
      ... on CapacityBlocker {
        message
        aheadCount
      }
    }
  }
`);

export type JobRow = ResultOf<typeof jobRow>;
export type JobWait = ResultOf<typeof jobWait>;
export type TaskRow = ResultOf<typeof taskRow>;
export type ScheduleRow = ResultOf<typeof scheduleRow>;
export type QueueRow = ResultOf<typeof queueRow>;
export type WorkerRow = ResultOf<typeof workerRow>;
export type IncidentRow = ResultOf<typeof incidentRow>;

/** The feed of the page. */
export const eventsDocument = graphql(
  `
    subscription Events($after: EventCursor) {
      events(after: $after) {
        cursor
        hasMorePastEvents
        events {
          cursor
          type
          at
          actor
          taskName
          jobId
          data
          subject {
            __typename
            id
            ...JobRow
            ...TaskRow
            ...ScheduleRow
            ...QueueRow
            ...WorkerRow
            ...IncidentRow
          }
        }
      }
    }
  `,
  [jobRow, taskRow, scheduleRow, queueRow, workerRow, incidentRow],
);

/** One thing again, when the page is not sure that it has it as it is. */
export const refreshDocument = graphql(
  `
    query Refresh($id: ID!) {
      eventCursor
      node(id: $id) {
        __typename
        id
        ...JobRow
        ...TaskRow
        ...ScheduleRow
        ...QueueRow
        ...WorkerRow
        ...IncidentRow
      }
    }
  `,
  [jobRow, taskRow, scheduleRow, queueRow, workerRow, incidentRow],
);

/** What the page asks first: whether the token is taken, what it may do, and where the feed stands. */
export const openingDocument = graphql(`
  query Opening {
    eventCursor
    viewer {
      tokenName
      grants {
        verb
        tasks
        ownJobsOnly
      }
    }
    daemon {
      version
      startedAt
    }
  }
`);
