// Owns what the access screen asks and changes: tokens, and the part of the feed that says who changed what.
import { graphql, type ResultOf } from '$lib/api/graphql';

const tokenRow = graphql(`
  fragment TokenRow on Token @_unmask {
    id
    name
    createdAt
    createdBy
    expiresAt
    lastUsedAt
    revokedAt
    grants {
      verb
      tasks
      ownJobsOnly
    }
  }
`);
export type TokenRow = ResultOf<typeof tokenRow>;

export const tokensDocument = graphql(
  `
    query Tokens($first: Int!, $after: String) {
      eventCursor
      tokens(first: $first, after: $after) {
        nodes {
          ...TokenRow
        }
        pageInfo {
          hasNextPage
          endCursor
        }
      }
    }
  `,
  [tokenRow],
);

export const createDocument = graphql(
  `
    mutation CreateToken($input: TokenCreateInput!) {
      tokenCreate(input: $input) {
        token {
          ...TokenRow
        }
        secret
        cursor
        userErrors {
          code
          message
          path
        }
      }
    }
  `,
  [tokenRow],
);

export const revokeDocument = graphql(
  `
    mutation RevokeToken($input: TokenRevokeInput!) {
      tokenRevoke(input: $input) {
        token {
          ...TokenRow
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
  [tokenRow],
);

/** The feed is read from its oldest event on; a page may be empty because enough was looked at. */
export const auditDocument = graphql(`
  query Audit($after: EventCursor, $types: [EventType!]!) {
    eventCursor
    events(first: 200, after: $after, filter: { types: $types }) {
      cursor
      hasMorePastEvents
      events {
        cursor
        type
        at
        actor
        peer
        taskName
        data
        subject {
          __typename
          id
          ... on Schedule {
            name
          }
        }
      }
    }
  }
`);
