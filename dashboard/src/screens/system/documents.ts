// Owns what the System screen asks and changes.
import { graphql, type ResultOf } from '$lib/api/graphql';

const sinkRow = graphql(`
  fragment SinkRow on Sink @_unmask {
    name
    kind
    lagCount
    deliveredCount
    droppedCount
    deadLetterCount
    failingSince
    failure
    retiredAt
  }
`);

export const systemDocument = graphql(
  `
    query System($seesAll: Boolean!) {
      eventCursor
      daemon {
        version
        startedAt
        storeEngine @include(if: $seesAll)
        pollInterval @include(if: $seesAll)
        handlers @include(if: $seesAll)
        storeBytes @include(if: $seesAll)
        logBytes @include(if: $seesAll)
      }
      oldest: events(first: 1) {
        events {
          at
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
      sinks @include(if: $seesAll) {
        ...SinkRow
      }
    }
  `,
  [sinkRow],
);

export type SinkRow = ResultOf<typeof sinkRow>;
export type DaemonFacts = ResultOf<typeof systemDocument>['daemon'];

/** The dead letters of every sink; a sink has no field that finds it by name. */
export const lettersDocument = graphql(`
  query DeadLetters($first: Int!, $after: String) {
    eventCursor
    sinks {
      name
      deadLetters(first: $first, after: $after) {
        nodes {
          failure
          tryCount
          createdAt
          redeliverAt
          event {
            cursor
            type
            at
            taskName
            jobId
          }
        }
        pageInfo {
          hasNextPage
          endCursor
        }
      }
    }
  }
`);

export type Letter = ResultOf<typeof lettersDocument>['sinks'][number]['deadLetters']['nodes'][number];

export const redeliverDocument = graphql(
  `
    mutation RedeliverLetters($input: DeadLettersInput!) {
      sinkRedeliver(input: $input) {
        sink {
          ...SinkRow
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
  [sinkRow],
);

export const discardDocument = graphql(
  `
    mutation DiscardLetters($input: DeadLettersInput!) {
      sinkDiscard(input: $input) {
        sink {
          ...SinkRow
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
  [sinkRow],
);

/** Events for the audit list: what the page's own feed does not carry is the peer. Facts of the past stay as they are. */
export const trailDocument = graphql(`
  query Trail($after: EventCursor, $filter: EventFilter) {
    eventCursor
    events(first: 200, after: $after, filter: $filter) {
      cursor
      hasMorePastEvents
      events {
        cursor
        type
        at
        actor
        peer
        taskName
        jobId
        data
      }
    }
  }
`);

export type TrailEvent = ResultOf<typeof trailDocument>['events']['events'][number];
