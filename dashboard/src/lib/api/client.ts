// Owns queries and mutations over HTTP. There is no cache here: rows live in lib/live.
import { Client, fetchExchange, type AnyVariables, type TypedDocumentNode } from '@urql/core';
import { access } from './access.svelte';
import { problemOf, type Problem } from './problem';

export type Answer<Data> = { readonly data: Data; readonly problem: null } | Refused;
export interface Refused {
  readonly data: null;
  readonly problem: Problem;
}

type DateListener = (date: Date, sentAt: number, answeredAt: number) => void;
let onDate: DateListener = () => undefined;

/** Tells the daemon's clock to whoever keeps it. */
export function listenToDates(listener: DateListener): void {
  onDate = listener;
}

async function timedFetch(input: RequestInfo | URL, init?: RequestInit): Promise<Response> {
  const sentAt = Date.now();
  const response = await fetch(input, init);
  const date = response.headers.get('date');
  if (date !== null) onDate(new Date(date), sentAt, Date.now());
  return response;
}

const client = new Client({
  url: '/graphql',
  exchanges: [fetchExchange],
  requestPolicy: 'network-only',
  preferGetMethod: false,
  fetch: timedFetch,
  fetchOptions: () => ({ headers: { authorization: access.authorization }, credentials: 'omit', cache: 'no-store' }),
});

type Kind = 'query' | 'mutation';

async function run<Data, Variables extends AnyVariables>(
  kind: Kind,
  document: TypedDocumentNode<Data, Variables>,
  variables: Variables,
): Promise<Answer<Data>> {
  const sent = access.token;
  const result = await client[kind](document, variables).toPromise();
  if (!result.error && result.data !== undefined) return { data: result.data, problem: null };
  const problem = problemOf(result.error);
  // A late answer to an earlier token says nothing of the one that holds now.
  if (problem.kind === 'unauthenticated' && sent === access.token) access.refuse(problem.message);
  return { data: null, problem };
}

/** Asks once. Screens use `live.load`, which also keeps the answer live. */
export function ask<Data, Variables extends AnyVariables>(
  document: TypedDocumentNode<Data, Variables>,
  variables: Variables,
): Promise<Answer<Data>> {
  return run('query', document, variables);
}

/** Changes something. Screens use `live.change`, which also brings the answer's rows to the page. */
export function mutate<Data, Variables extends AnyVariables>(
  document: TypedDocumentNode<Data, Variables>,
  variables: Variables,
): Promise<Answer<Data>> {
  return run('mutation', document, variables);
}
