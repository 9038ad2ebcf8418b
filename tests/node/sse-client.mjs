// The graphql-sse reference client and raw streams against a running daemon: URL=… TOKEN=… node sse-client.mjs
import { createClient } from 'graphql-sse';
import { authorization, checks, enqueue, holds, resumes, run, same, url } from './settings.mjs';

function client(headers = { authorization }) {
  return createClient({ url, headers, retryAttempts: 0 });
}

async function all(iterator) {
  const results = [];
  for await (const result of iterator) results.push(result);
  return results;
}

async function collect(after, enough) {
  const listening = client();
  const [events, variables] = [[], { after }];
  let cursor = after;
  try {
    for await (const result of listening.iterate({ query: checks.subscription, variables })) {
      holds(!result.errors, `the subscription failed: ${JSON.stringify(result)}`);
      const batch = result.data[checks.subscriptionField];
      events.push(...batch.events);
      cursor = batch.cursor;
      if (enough(events)) break;
    }
    return { events, cursor };
  } finally {
    listening.dispose();
  }
}

/// Reads a raw stream until `enough(text)`, or to its end.
async function text(query, { headers = {}, variables, enough = () => false } = {}) {
  const leave = new AbortController();
  const response = await fetch(url, {
    method: 'POST',
    headers: { authorization, accept: 'text/event-stream', 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ query, variables }),
    signal: leave.signal,
  });
  let seen = '';
  const decoder = new TextDecoder();
  for await (const bytes of response.body) {
    seen += decoder.decode(bytes, { stream: true });
    if (enough(seen)) break;
  }
  leave.abort();
  return { response, seen };
}

await run('graphql-sse', {
  'a query is answered once': async () => {
    const results = await all(client().iterate({ query: checks.query }));
    same(results.length, 1, 'results');
    holds(results[0].data && !results[0].errors, JSON.stringify(results[0]));
  },
  'a mutation is answered once': async () => {
    const results = await all(client().iterate({ query: checks.mutation }));
    holds(results[0].data[checks.mutationField].cursor, JSON.stringify(results[0]));
  },
  'an invalid document is a result with a code': async () => {
    const results = await all(client().iterate({ query: checks.invalid }));
    same(results[0].errors[0].extensions.code, 'GRAPHQL_VALIDATION_FAILED', 'code');
  },
  'a subscription delivers what happens after its cursor': async () => {
    const start = await enqueue();
    await enqueue();
    const { events } = await collect(start, (seen) => seen.length >= 1);
    holds(events.length >= 1, 'no events');
  },
  'a stream is resumed without a gap or a duplicate': async () => {
    await resumes(collect);
  },
  'Last-Event-ID resumes like the cursor': async () => {
    if (!checks.lastEventId) return;
    const { start, first, second } = await resumes(collect);
    const wanted = [...first.events, ...second.events];
    const events = (seen) =>
      seen
        .split('\n')
        .filter((line) => line.startsWith('data: {'))
        .flatMap((line) => {
          try {
            return JSON.parse(line.slice(6)).data[checks.subscriptionField].events;
          } catch {
            return []; // The last line is not whole yet.
          }
        });
    const { seen } = await text(checks.subscription, {
      headers: { 'last-event-id': start },
      enough: (sofar) => events(sofar).length >= wanted.length,
    });
    same(events(seen).slice(0, wanted.length), wanted, 'events');
    holds(/^id: \S+$/m.test(seen), 'events carry an id');
  },
  'a wrong token is refused with 401': async () => {
    try {
      await all(client({ authorization: 'Bearer wrong' }).iterate({ query: checks.query }));
    } catch (error) {
      same(error.response?.status, 401, 'status');
      return;
    }
    throw new Error('it was answered');
  },
  'the wire has the form of the protocol': async () => {
    const { response, seen } = await text(checks.query);
    same(response.status, 200, 'status');
    holds(response.headers.get('content-type').startsWith('text/event-stream'), 'content type');
    same(response.headers.get('cache-control'), 'no-store', 'cache-control');
    holds(/^event: next\n(id: .*\n)?data: \{.*\}\n\nevent: complete\ndata: ?\n\n$/.test(seen), JSON.stringify(seen));
  },
  'a foreign page is refused': async () => {
    const { response } = await text(checks.mutation, { headers: { origin: 'http://evil.example' } });
    same(response.status, 403, 'status');
  },
});
