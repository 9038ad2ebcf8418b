// The graphql-ws reference client and raw sockets against a running daemon: URL=… TOKEN=… node ws-client.mjs
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { authorization, checks, enqueue, holds, resumes, run, same, within, wsUrl } from './settings.mjs';

const PROTOCOL = 'graphql-transport-ws';

function client(payload = { authorization }) {
  return createClient({ url: wsUrl, webSocketImpl: WebSocket, connectionParams: payload, retryAttempts: 0, lazyCloseTimeout: 2_000 });
}

async function all(iterator) {
  const results = [];
  for await (const result of iterator) results.push(result);
  return results;
}

async function collect(after, enough) {
  const talking = client();
  const [events, variables] = [[], { after }];
  let cursor = after;
  try {
    for await (const result of talking.iterate({ query: checks.subscription, variables })) {
      holds(!result.errors, `the subscription failed: ${JSON.stringify(result)}`);
      const batch = result.data[checks.subscriptionField];
      events.push(...batch.events);
      cursor = batch.cursor;
      if (enough(events)) break;
    }
    return { events, cursor };
  } finally {
    await talking.dispose();
  }
}

/// A bare socket: sends the texts after the acknowledgement, then what `replies` has for the type of each message that
/// comes; gives the messages and the close code.
function raw(texts, { protocols = [PROTOCOL], headers = {}, ackFirst = true, replies = {}, ms = 20_000 } = {}) {
  const socket = new WebSocket(wsUrl, protocols, { headers });
  const messages = [];
  const closed = new Promise((resolve, reject) => {
    socket.on('error', reject);
    socket.on('close', (code, reason) => resolve({ code, reason: String(reason), messages }));
    socket.on('message', (data) => {
      messages.push(JSON.parse(String(data)));
      const { type } = messages.at(-1);
      if (replies[type]) socket.send(replies[type]);
      if (ackFirst && type === 'connection_ack') texts.forEach((text) => socket.send(text));
    });
    socket.on('open', () => {
      if (ackFirst) socket.send(JSON.stringify({ type: 'connection_init', payload: { authorization } }));
      else texts.forEach((text) => socket.send(text));
    });
  });
  return within(ms, closed, 'a close').finally(() => socket.terminate());
}

const subscribe = (id, query) => JSON.stringify({ type: 'subscribe', id, payload: { query } });
const endless = (id) => subscribe(id, checks.subscription);

async function closes(code, texts, options) {
  same((await raw(texts, options)).code, code, 'close code');
}

await run('graphql-ws', {
  'a query is answered once': async () => {
    const results = await all(client().iterate({ query: checks.query }));
    same(results.length, 1, 'results');
    holds(results[0].data && !results[0].errors, JSON.stringify(results[0]));
  },
  'an invalid document is an error with a code': async () => {
    try {
      await all(client().iterate({ query: checks.invalid }));
    } catch (errors) {
      holds(Array.isArray(errors), String(errors));
      same(errors[0].extensions.code, 'GRAPHQL_VALIDATION_FAILED', 'code');
      return;
    }
    throw new Error('it was answered');
  },
  'a mutation and a query share a socket': async () => {
    const talking = client();
    const [mutated, queried] = await Promise.all([
      all(talking.iterate({ query: checks.mutation })),
      all(talking.iterate({ query: checks.query })),
    ]);
    holds(mutated[0].data[checks.mutationField].cursor && queried[0].data, 'both answer');
    await talking.dispose();
  },
  'a subscription delivers what happens after its cursor': async () => {
    const start = await enqueue();
    await enqueue();
    const { events } = await collect(start, (seen) => seen.length >= 1);
    holds(events.length >= 1, 'no events');
  },
  'a completed subscription leaves the socket usable': async () => {
    const talking = client();
    const start = await enqueue();
    await enqueue();
    for await (const _ of talking.iterate({ query: checks.subscription, variables: { after: start } })) break;
    holds((await all(talking.iterate({ query: checks.query })))[0].data, 'the query is answered');
    await talking.dispose();
  },
  'a stream is resumed without a gap or a duplicate': async () => {
    await resumes(collect);
  },
  'a wrong token is refused with 4403': async () => {
    try {
      await all(client({ authorization: 'Bearer wrong' }).iterate({ query: checks.query }));
    } catch (close) {
      same(close.code, 4403, 'close code');
      return;
    }
    throw new Error('it was answered');
  },
  'ping is echoed before and after the acknowledgement': async () => {
    const ping = JSON.stringify({ type: 'ping', payload: { n: 1 } });
    const { messages } = await raw([ping, 'end'], {});
    same(messages[1], { type: 'pong', payload: { n: 1 } }, 'pong');
    const early = await raw([ping, 'end'], { ackFirst: false });
    same(early.messages[0], { type: 'pong', payload: { n: 1 } }, 'pong');
  },
  'only one error answers an invalid document': async () => {
    const replies = { error: JSON.stringify({ type: 'ping' }), pong: 'end' };
    const { messages } = await raw([subscribe('1', checks.invalid)], { replies });
    same(messages.map((message) => message.type), ['connection_ack', 'error', 'pong'], 'messages');
  },
  '4400 for what is not JSON': () => closes(4400, ['nonsense']),
  '4400 for an unknown type': () => closes(4400, ['{"type":"nonsense"}']),
  '4400 for a missing id': () => closes(4400, ['{"type":"subscribe","payload":{"query":"{a}"}}']),
  '4400 for a payload without a query': () => closes(4400, ['{"type":"subscribe","id":"1","payload":{}}']),
  '4400 for a binary message': () => closes(4400, [Buffer.from('{"type":"ping"}')]),
  '4401 for an operation before the acknowledgement': () =>
    closes(4401, [subscribe('1', checks.query)], { ackFirst: false }),
  '4403 without a token': () => closes(4403, ['{"type":"connection_init"}'], { ackFirst: false }),
  '4408 when nothing is said': () => closes(4408, [], { ackFirst: false }),
  '4409 for an id in use': () => closes(4409, [endless('1'), endless('1')]),
  '4429 for a second initialisation': () => closes(4429, ['{"type":"connection_init"}']),
  '1009 for a message over the bound': () =>
    closes(1009, [JSON.stringify({ type: 'ping', payload: { a: 'a'.repeat(1100 * 1024) } })]),
  'a close is answered': async () => {
    const socket = new WebSocket(wsUrl, [PROTOCOL]);
    const closed = new Promise((resolve, reject) => socket.on('close', resolve).on('error', reject));
    socket.on('open', () => socket.close(1000, 'bye'));
    same(await within(5_000, closed, 'the close'), 1000, 'close code');
  },
  'our protocol is chosen among several': async () => {
    const socket = new WebSocket(wsUrl, ['graphql-ws', PROTOCOL]);
    await within(5_000, new Promise((resolve, reject) => socket.on('open', resolve).on('error', reject)), 'open');
    same(socket.protocol, PROTOCOL, 'protocol');
    socket.terminate();
  },
  'a foreign page gets no socket': async () => {
    for (const [headers, status] of [
      [{ origin: 'http://evil.example' }, 403],
      [{ host: 'evil.example' }, 421],
    ]) {
      const error = await raw([], { headers, ackFirst: false }).catch((failure) => failure);
      holds(String(error.message).includes(String(status)), `${JSON.stringify(headers)}: ${error.message ?? error.code}`);
    }
  },
});
