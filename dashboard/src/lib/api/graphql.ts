// Owns typed documents: `graphql(...)` is checked against ../schema.graphql. Documents live in .ts files only.
import { initGraphQLTada } from 'gql.tada';
import type { introspection } from './schema';

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

/** A position in the event feed. Opaque: two of them are equal or not, nothing more. */
export type EventCursor = Branded<'EventCursor'>;
/** A position in the log of an attempt. Opaque. */
export type LogCursor = Branded<'LogCursor'>;

export const graphql = initGraphQLTada<{
  introspection: introspection;
  scalars: {
    /** RFC 3339 in UTC. */
    DateTime: string;
    /** ISO 8601, such as PT1M30S; also read as 1m30s. */
    Duration: string;
    /** Decimal digits. */
    BigInt: string;
    JSON: unknown;
    EventCursor: EventCursor;
    LogCursor: LogCursor;
  };
}>();

export { readFragment } from 'gql.tada';
export type { FragmentOf, ResultOf, TadaDocumentNode, VariablesOf } from 'gql.tada';

export type JobState = ReturnType<typeof graphql.scalar<'JobState'>>;
export type AttemptOutcome = ReturnType<typeof graphql.scalar<'AttemptOutcome'>>;
export type TickOutcome = ReturnType<typeof graphql.scalar<'TickOutcome'>>;
export type IncidentStatus = ReturnType<typeof graphql.scalar<'IncidentStatus'>>;
export type HealthStatus = ReturnType<typeof graphql.scalar<'HealthStatus'>>;
export type WorkerStatus = ReturnType<typeof graphql.scalar<'WorkerStatus'>>;
export type GrantVerb = ReturnType<typeof graphql.scalar<'GrantVerb'>>;
export type EventType = ReturnType<typeof graphql.scalar<'EventType'>>;
