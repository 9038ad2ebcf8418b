// Owns what the Now screen asks and changes. A minute is a bar or a point of the charts: how many jobs ended in it, how
// many were made in it, and a sample of those that ended.
import { graphql, type ResultOf } from '$lib/api/graphql';
import { incidentRow, jobRow, jobWait } from '$lib/live/fragments';

const endedCounts = graphql(`
  fragment EndedCounts on JobCounts @_unmask {
    succeeded
    failed
    cancelled
    expired
    skipped
  }
`);

const allCounts = graphql(`
  fragment AllCounts on JobCounts @_unmask {
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
  }
`);

// Without ids on purpose: what has ended does not change, and thousands of samples need not be live rows.
const endedSample = graphql(`
  fragment EndedSample on JobConnection @_unmask {
    nodes {
      runAt
      startedAt
      finishedAt
    }
  }
`);

export type EndedCounts = ResultOf<typeof endedCounts>;
export type AllCounts = ResultOf<typeof allCounts>;
export type EndedSample = ResultOf<typeof endedSample>;

/** Everything but the charts' past. `$t0` to `$t1` is the minute before, `$t1` to `$t2` the one that runs. */
export const nowDocument = graphql(
  `
    query Now($running: Int!, $waiting: Int!, $seesAll: Boolean!, $t0: DateTime!, $t1: DateTime!, $t2: DateTime!) {
      eventCursor
      counts: jobCounts {
        ...AllCounts
      }
      running: jobs(first: $running, filter: { states: [RUNNING] }, orderBy: { field: CREATED_AT, direction: ASC }) {
        nodes {
          ...JobRow
          tail: log(last: 1) {
            cursor
            lines {
              text
            }
          }
        }
      }
      waiting: jobs(
        first: $waiting
        filter: { states: [QUEUED, HELD, BLOCKED, RETRYING] }
        orderBy: { field: RUN_AT, direction: ASC }
      ) {
        nodes {
          ...JobRow
          ...JobWait
        }
      }
      later: jobs(first: 6, filter: { states: [SCHEDULED] }, orderBy: { field: RUN_AT, direction: ASC }) {
        nodes {
          ...JobRow
        }
      }
      schedules(first: 200, filter: { isPaused: false }) @include(if: $seesAll) {
        nodes {
          id
          name
          nextDueAt
          timeZone
          task {
            id
            name
          }
        }
        pageInfo {
          hasNextPage
        }
      }
      queues(first: 200) @include(if: $seesAll) {
        nodes {
          id
          name
          isPaused
          concurrencyLimit
          runningCount
          waitingCount
        }
      }
      workers(first: 50) @include(if: $seesAll) {
        nodes {
          id
          name
          status
          slots
          busySlots
        }
      }
      incidents(first: 20) @include(if: $seesAll) {
        nodes {
          ...IncidentRow
          hours: histogram(buckets: 24)
        }
        pageInfo {
          hasNextPage
        }
      }
      e0: jobCounts(filter: { finished: { from: $t0, to: $t1 } }) {
        ...EndedCounts
      }
      c0: jobCounts(filter: { created: { from: $t0, to: $t1 } }) {
        ...AllCounts
      }
      s0: jobs(first: 50, filter: { finished: { from: $t0, to: $t1 } }, orderBy: { field: FINISHED_AT }) {
        ...EndedSample
      }
      e1: jobCounts(filter: { finished: { from: $t1, to: $t2 } }) {
        ...EndedCounts
      }
      c1: jobCounts(filter: { created: { from: $t1, to: $t2 } }) {
        ...AllCounts
      }
      s1: jobs(first: 50, filter: { finished: { from: $t1, to: $t2 } }, orderBy: { field: FINISHED_AT }) {
        ...EndedSample
      }
    }
  `,
  [jobRow, jobWait, incidentRow, endedCounts, allCounts, endedSample],
);

type NowData = ResultOf<typeof nowDocument>;
export type RunningJob = NowData['running']['nodes'][number];
export type WaitingJob = NowData['waiting']['nodes'][number];
export type LaterJob = NowData['later']['nodes'][number];
export type NowSchedule = NonNullable<NowData['schedules']>['nodes'][number];
export type NowQueue = NonNullable<NowData['queues']>['nodes'][number];
export type NowWorker = NonNullable<NowData['workers']>['nodes'][number];
export type NowIncident = NonNullable<NowData['incidents']>['nodes'][number];

/** Minutes that one question about the past answers. */
export const CHUNK = 6;
/** `$t0` to `$t1` is the first of the minutes. */
export const pastDocument = graphql(
  `
    query PastMinutes(
      $t0: DateTime!
      $t1: DateTime!
      $t2: DateTime!
      $t3: DateTime!
      $t4: DateTime!
      $t5: DateTime!
      $t6: DateTime!
    ) {
      eventCursor
      e0: jobCounts(filter: { finished: { from: $t0, to: $t1 } }) {
        ...EndedCounts
      }
      c0: jobCounts(filter: { created: { from: $t0, to: $t1 } }) {
        ...AllCounts
      }
      s0: jobs(first: 50, filter: { finished: { from: $t0, to: $t1 } }, orderBy: { field: FINISHED_AT }) {
        ...EndedSample
      }
      e1: jobCounts(filter: { finished: { from: $t1, to: $t2 } }) {
        ...EndedCounts
      }
      c1: jobCounts(filter: { created: { from: $t1, to: $t2 } }) {
        ...AllCounts
      }
      s1: jobs(first: 50, filter: { finished: { from: $t1, to: $t2 } }, orderBy: { field: FINISHED_AT }) {
        ...EndedSample
      }
      e2: jobCounts(filter: { finished: { from: $t2, to: $t3 } }) {
        ...EndedCounts
      }
      c2: jobCounts(filter: { created: { from: $t2, to: $t3 } }) {
        ...AllCounts
      }
      s2: jobs(first: 50, filter: { finished: { from: $t2, to: $t3 } }, orderBy: { field: FINISHED_AT }) {
        ...EndedSample
      }
      e3: jobCounts(filter: { finished: { from: $t3, to: $t4 } }) {
        ...EndedCounts
      }
      c3: jobCounts(filter: { created: { from: $t3, to: $t4 } }) {
        ...AllCounts
      }
      s3: jobs(first: 50, filter: { finished: { from: $t3, to: $t4 } }, orderBy: { field: FINISHED_AT }) {
        ...EndedSample
      }
      e4: jobCounts(filter: { finished: { from: $t4, to: $t5 } }) {
        ...EndedCounts
      }
      c4: jobCounts(filter: { created: { from: $t4, to: $t5 } }) {
        ...AllCounts
      }
      s4: jobs(first: 50, filter: { finished: { from: $t4, to: $t5 } }, orderBy: { field: FINISHED_AT }) {
        ...EndedSample
      }
      e5: jobCounts(filter: { finished: { from: $t5, to: $t6 } }) {
        ...EndedCounts
      }
      c5: jobCounts(filter: { created: { from: $t5, to: $t6 } }) {
        ...AllCounts
      }
      s5: jobs(first: 50, filter: { finished: { from: $t5, to: $t6 } }, orderBy: { field: FINISHED_AT }) {
        ...EndedSample
      }
    }
  `,
  [endedCounts, allCounts, endedSample],
);

/** The newest line of a job's output. The alias is that of `nowDocument`: both write the same place. */
export const tailDocument = graphql(`
  query LastLine($id: ID!) {
    eventCursor
    job(id: $id) {
      id
      tail: log(last: 1) {
        cursor
        lines {
          text
        }
      }
    }
  }
`);

export const linesDocument = graphql(`
  subscription NextLines($id: ID!, $after: LogCursor) {
    jobLog(id: $id, after: $after) {
      cursor
      lines {
        text
      }
    }
  }
`);
