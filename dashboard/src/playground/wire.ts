// Owns the playground's way to the daemon: queries and mutations by HTTP, subscriptions by WebSocket, the token on both.
// It sends what the person wrote and shows what the daemon said; it repeats nothing.
import { getOperationAST, Kind, parse, type DocumentNode } from 'graphql';
import { createClient } from 'graphql-ws';
import type { GraphiQLProps } from 'graphiql';
import { access } from '$lib/api/access.svelte';

type Fetcher = GraphiQLProps['fetcher'];
type Asked = Parameters<Fetcher>[0];

export interface Wire {
  readonly fetch: Fetcher;
  readonly close: () => void;
}

const REFUSED = 'The daemon does not take this token: it is unknown, revoked or expired.';

/** The wire of the token that the page has now. */
export function openWire(): Wire {
  const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
  const socket = createClient({
    url: `${scheme}://${location.host}/graphql`,
    connectionParams: () => ({ authorization: access.authorization }),
    lazy: true,
    retryAttempts: 0,
  });
  const fetcher: Fetcher = (said) => {
    const document = parsed(said.query);
    // What cannot be read is told by the daemon, in its own words.
    if (document === null) return ask(said);
    const asked: Asked = { ...said, operationName: meantOperation(document, said.operationName) };
    return isSubscription(document, asked.operationName) ? follow(asked) : ask(asked);
  };
  async function* follow(asked: Asked): AsyncGenerator<Record<string, unknown>> {
    const answers = socket.iterate({
      query: asked.query,
      variables: asRecord(asked.variables),
      operationName: asked.operationName ?? null,
    });
    try {
      for await (const answer of answers) yield { ...answer };
    } catch (error) {
      throw inWords(error);
    }
  }
  return { fetch: fetcher, close: () => void socket.dispose() };
}

function parsed(query: string): DocumentNode | null {
  try {
    return parse(query);
  } catch {
    return null;
  }
}

/**
 * The name of the operation that the person means. For a moment behind a change of the tab the editor still names the
 * operation of the tab before: where the document has one operation only, that one is meant.
 */
export function meantOperation(document: DocumentNode, name: string | null | undefined): string | null {
  const operations = document.definitions.filter((definition) => definition.kind === Kind.OPERATION_DEFINITION);
  const only = operations.length === 1 ? operations[0] : undefined;
  return only === undefined ? (name ?? null) : (only.name?.value ?? null);
}

/** Whether the operation that will run is a subscription. */
export function isSubscription(document: DocumentNode, name: string | null | undefined): boolean {
  return getOperationAST(document, name)?.operation === 'subscription';
}

async function ask(asked: Asked) {
  const response = await fetch('/graphql', {
    method: 'POST',
    headers: {
      authorization: access.authorization,
      'content-type': 'application/json',
      accept: 'application/graphql-response+json, application/json;q=0.9',
    },
    body: JSON.stringify(asked),
    credentials: 'omit',
    cache: 'no-store',
  });
  if (response.status === 401) access.refuse(REFUSED);
  return (await response.json()) as Record<string, unknown>;
}

function asRecord(variables: unknown): Record<string, unknown> | null {
  return typeof variables === 'object' && variables !== null ? (variables as Record<string, unknown>) : null;
}

/** What the editor can show of an end of the connection. */
function inWords(error: unknown): unknown {
  if (!(error instanceof CloseEvent)) return error;
  if (error.code === 4401 || error.code === 4403) access.refuse(REFUSED);
  return new Error(`The connection was closed: ${error.reason || `code ${String(error.code)}`}.`);
}
