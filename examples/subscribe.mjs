// Prints every event of a daemon as one line of JSON, for ever: when the daemon restarts, it goes on where it was,
// without a hole and without a repeat.
//
//   npm install graphql-ws ws                  (in your own project's directory)
//   node .../examples/subscribe.mjs [CURSOR]   (from there; without a cursor: from now on)
//
// Reads BEADLE_URL and BEADLE_TOKEN.
import { createRequire } from 'node:module';

// The packages of the directory that this is run in.
const require = createRequire(`${process.cwd()}/`);
const { createClient } = require('graphql-ws');
const { WebSocket } = require('ws');

const url = new URL('/graphql', process.env.BEADLE_URL ?? 'http://127.0.0.1:7878');
const authorization = `Bearer ${process.env.BEADLE_TOKEN}`;

async function newestCursor() {
  const answer = await fetch(url, {
    method: 'POST',
    headers: { authorization, 'content-type': 'application/json' },
    body: JSON.stringify({ query: '{ eventCursor }' }),
  });
  const { data, errors } = await answer.json();
  if (errors) throw new Error(errors[0].message);
  return data.eventCursor;
}

// The client sends these again on each new connection: `after` is what makes it resume.
const variables = { after: process.argv[2] ?? (await newestCursor()) };
const query = `subscription ($after: EventCursor!) {
  events(after: $after) { events { cursor at type actor jobId taskName data } cursor }
}`;

const client = createClient({
  url: url.href.replace(/^http/, 'ws'),
  webSocketImpl: WebSocket,
  // Browsers cannot set headers on a WebSocket, so the token travels in the first message.
  connectionParams: { authorization },
  // For ever; what asking again cannot mend (a wrong token, say) the client gives up by itself.
  retryAttempts: Infinity,
  retryWait: (retries) => new Promise((go) => setTimeout(go, Math.min(100 * 2 ** retries, 5_000))),
  shouldRetry: () => true,
});

client.subscribe(
  { query, variables },
  {
    next({ data, errors }) {
      if (errors) throw new Error(errors[0].message);
      for (const event of data.events.events) console.log(JSON.stringify(event));
      variables.after = data.events.cursor;
    },
    error(cause) {
      console.error(cause?.reason ?? cause?.[0]?.message ?? cause);
      process.exit(1);
    },
    complete() {},
  },
);
