// Owns what the tasks screen asks.
import { graphql, type ResultOf } from '$lib/api/graphql';
import { taskRow } from '$lib/live/fragments';

export const tasksDocument = graphql(
  `
    query Tasks($first: Int!, $after: String, $filter: TaskFilter) {
      eventCursor
      tasks(first: $first, after: $after, filter: $filter) {
        nodes {
          ...TaskRow
          lately: statistics {
            succeededCount
            failedCount
            medianDuration
            p95Duration
            recent(first: 20) {
              id
              state
              startedAt
              finishedAt
            }
          }
          schedules {
            id
            name
            isPaused
            nextDueAt
          }
        }
        pageInfo {
          hasNextPage
          endCursor
        }
      }
    }
  `,
  [taskRow],
);

export type ListedTask = ResultOf<typeof tasksDocument>['tasks']['nodes'][number];
