// Owns what the screens of schedules ask and change.
import { graphql, type ResultOf } from '$lib/api/graphql';
import { scheduleRow } from '$lib/live/fragments';

/** What became of a due time. */
const tickShown = graphql(`
  fragment TickShown on Tick @_unmask {
    dueAt
    firstDueAt
    outcome
    count
    job {
      id
      state
      startedAt
      finishedAt
      stopRequestedAt
    }
  }
`);
export type TickShown = ResultOf<typeof tickShown>;

/** The short strip of a row: some of the past, some to come. */
const stripShown = graphql(
  `
    fragment StripShown on Schedule @_unmask {
      id
      recent: ticks(first: 20) {
        nodes {
          ...TickShown
        }
      }
      soon: upcoming(first: 12) {
        at
      }
    }
  `,
  [tickShown],
);

export const schedulesDocument = graphql(
  `
    query Schedules($first: Int!, $after: String, $filter: ScheduleFilter) {
      eventCursor
      schedules(first: $first, after: $after, filter: $filter) {
        nodes {
          ...ScheduleRow
          ...StripShown
        }
        pageInfo {
          hasNextPage
          endCursor
        }
      }
    }
  `,
  [scheduleRow, stripShown],
);
export type ScheduleListed = ResultOf<typeof schedulesDocument>['schedules']['nodes'][number];

/** The strip of one row again. */
export const stripDocument = graphql(
  `
    query ScheduleStrip($id: ID!) {
      eventCursor
      schedule(ref: { id: $id }) {
        ...ScheduleRow
        ...StripShown
      }
    }
  `,
  [scheduleRow, stripShown],
);

export const scheduleDocument = graphql(
  `
    query Schedule($name: String!, $first: Int!) {
      eventCursor
      schedule(ref: { name: $name }) {
        ...ScheduleRow
        jitter
        misfireWindow
        parameters
        ledger: ticks(first: $first) {
          edges {
            cursor
            node {
              ...TickShown
            }
          }
          pageInfo {
            hasNextPage
          }
        }
        coming: upcoming(first: 60) {
          at
          local
          note
        }
      }
    }
  `,
  [scheduleRow, tickShown],
);
export type ScheduleShown = NonNullable<ResultOf<typeof scheduleDocument>['schedule']>;

/** Older rows of the ledger. The alias keeps them from taking the place of the first page. */
export const olderDocument = graphql(
  `
    query OlderTicks($id: ID!, $first: Int!, $after: String!) {
      eventCursor
      schedule(ref: { id: $id }) {
        id
        older: ticks(first: $first, after: $after) {
          edges {
            cursor
            node {
              ...TickShown
            }
          }
          pageInfo {
            hasNextPage
          }
        }
      }
    }
  `,
  [tickShown],
);

/** The tasks that a schedule can start. */
export const tasksDocument = graphql(`
  query TasksToSchedule {
    eventCursor
    tasks(first: 200) {
      nodes {
        id
        name
        description
      }
    }
  }
`);

/** What the jobs of the chosen task take. */
export const chosenTaskDocument = graphql(`
  query TaskToSchedule($name: String!, $isChosen: Boolean!) {
    eventCursor
    task(ref: { name: $name }) @include(if: $isChosen) {
      id
      name
      parametersSchema
    }
  }
`);

export const previewDocument = graphql(`
  query PreviewSchedule($timing: TimingInput!, $timeZone: String!, $first: Int!, $jitter: Duration!, $name: String) {
    eventCursor
    schedulePreview(timing: $timing, timeZone: $timeZone, first: $first, jitter: $jitter, name: $name) {
      at
      local
      note
    }
  }
`);
export type DueShown = ResultOf<typeof previewDocument>['schedulePreview'][number];

export const putDocument = graphql(
  `
    mutation PutSchedule($input: SchedulePutInput!) {
      schedulePut(input: $input) {
        schedule {
          ...ScheduleRow
          jitter
          misfireWindow
          parameters
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
  [scheduleRow],
);

export const pauseDocument = graphql(
  `
    mutation PauseSchedule($input: SchedulePauseInput!) {
      schedulePause(input: $input) {
        schedule {
          ...ScheduleRow
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
  [scheduleRow],
);

export const resumeDocument = graphql(
  `
    mutation ResumeSchedule($input: ScheduleResumeInput!) {
      scheduleResume(input: $input) {
        schedule {
          ...ScheduleRow
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
  [scheduleRow],
);

export const triggerDocument = graphql(`
  mutation TriggerSchedule($input: ScheduleTriggerInput!) {
    scheduleTrigger(input: $input) {
      job {
        id
      }
      cursor
      userErrors {
        code
        message
        path
      }
    }
  }
`);

export const deleteDocument = graphql(`
  mutation DeleteSchedule($input: ScheduleDeleteInput!) {
    scheduleDelete(input: $input) {
      deletedId
      cursor
      userErrors {
        code
        message
        path
      }
    }
  }
`);
