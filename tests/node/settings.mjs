// What the checks run and where. Everything comes from the environment:
//   URL     http://127.0.0.1:7878/graphql
//   TOKEN   a token that may query, subscribe and run commands
//   CHECKS  optional JSON that replaces single documents below
export const url = process.env.URL ?? 'http://127.0.0.1:7878/graphql';
export const wsUrl = url.replace(/^http/, 'ws');
export const token = process.env.TOKEN ?? '';
export const authorization = `Bearer ${token}`;

export const checks = {
  query: '{ daemon { version } }',
  invalid: '{ nope }',
  subscription: 'subscription($after: EventCursor) { events(after: $after) { cursor events { type } } }',
  // Where the batches, their cursors and their events are in what the two documents answer.
  subscriptionField: 'events',
  mutation:
    'mutation { jobEnqueue(input: {run: {command: {exec: {argv: ["/bin/true"]}}}}) { job { id } cursor userErrors { message } } }',
  mutationField: 'jobEnqueue',
  // Whether `Last-Event-ID` resumes an event stream.
  lastEventId: true,
  ...JSON.parse(process.env.CHECKS ?? '{}'),
};

if (!token) {
  console.error('TOKEN is not set');
  process.exit(2);
}

/// Runs the mutation over HTTP and gives the cursor of its commit.
export async function enqueue() {
  const response = await fetch(url, {
    method: 'POST',
    headers: { authorization, 'content-type': 'application/json' },
    body: JSON.stringify({ query: checks.mutation }),
  });
  const body = await response.json();
  const payload = body.data?.[checks.mutationField];
  if (!payload?.cursor || payload.userErrors?.length) {
    throw new Error(`the mutation failed: ${JSON.stringify(body)}`);
  }
  return payload.cursor;
}

/// Checks that a stream which is left and taken up again misses nothing and repeats nothing.
/// `collect(after, enough)` subscribes after a cursor, reads until `enough(events)` and leaves;
/// it gives the events in order and the cursor of the last batch.
export async function resumes(collect) {
  const start = await enqueue();
  await enqueue();
  const first = await collect(start, (events) => events.length >= 1);
  await enqueue();
  await enqueue();
  const second = await collect(first.cursor, (events) => events.length >= 2);
  const seen = [...first.events, ...second.events];
  const whole = await collect(start, (events) => events.length >= seen.length);
  same(seen, whole.events.slice(0, seen.length), 'events of the interrupted and of the whole stream');
  return { start, first, second };
}

export function same(got, wanted, what) {
  const [left, right] = [JSON.stringify(got), JSON.stringify(wanted)];
  if (left !== right) throw new Error(`${what}: got ${left}, wanted ${right}`);
}

export function holds(condition, what) {
  if (!condition) throw new Error(what);
}

export async function within(ms, promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/// Runs the named checks one after the other, prints each, and ends the process.
export async function run(suite, named) {
  let passed = 0;
  const failures = [];
  for (const [name, check] of Object.entries(named)) {
    try {
      await within(30_000, check(), name);
      passed += 1;
      console.log(`ok    ${name}`);
    } catch (error) {
      failures.push(name);
      console.log(`FAIL  ${name}: ${error?.message || error?.code || JSON.stringify(error)}`);
    }
  }
  console.log(`${suite}: ${passed} of ${passed + failures.length} checks passed`);
  process.exit(failures.length === 0 ? 0 : 1);
}
