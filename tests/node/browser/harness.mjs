// What every story of the dashboard shares: a browser with a fresh profile, a page whose complaints are noted, questions
// to the daemon beside the page, and wishes to whoever runs the story. The environment says where:
//   LINK       the link of the daemon's banner
//   URL TOKEN  the daemon, and its admin token
//   CHROMIUM   the browser [default: /usr/bin/chromium]
//   SHOTS      a directory for pictures of a story that fails, optional
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

export const base = process.env.URL ?? 'http://127.0.0.1:7878';
export const token = process.env.TOKEN ?? '';
export const link = process.env.LINK ?? `${base}/#token=${token}`;
/// For everything that is waited for, on a busy machine.
export const PATIENCE_MS = Number(process.env.PATIENCE_MS ?? 60_000);

const faults = [];
const answers = createInterface({ input: process.stdin });
const wishes = [];
answers.on('line', () => wishes.shift()?.());
process.stdin.unref?.();

export function holds(condition, what) {
  if (!condition) throw new Error(what);
}

export function step(what) {
  console.log(`  ${what}`);
}

/// Asks whoever runs the story for what a page cannot do: `kill` or `start` the daemon.
export async function please(wish) {
  process.stdin.ref?.();
  const done = new Promise((resolve) => wishes.push(resolve));
  console.log(`please: ${wish}`);
  await done;
  process.stdin.unref?.();
}

/// One operation over HTTP, as a client beside the page; fails on any error.
export async function ask(query, variables = {}, secret = token) {
  const answer = await fetch(`${base}/graphql`, {
    method: 'POST',
    headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json' },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = await answer.json();
  holds(!errors, `${query}: ${JSON.stringify(errors)}`);
  for (const [field, payload] of Object.entries(data)) {
    holds(!payload?.userErrors?.length, `${field}: ${JSON.stringify(payload?.userErrors)}`);
  }
  return data;
}

/// A mutation with one input: `change('taskPut', 'TaskPutInput', 'task { id }', {...})` gives its payload.
export async function change(field, kind, shown, input) {
  const query = `mutation ($input: ${kind}!) { ${field}(input: $input) { ${shown} userErrors { code message path } } }`;
  return (await ask(query, { input }))[field];
}

export const putTask = (input) => change('taskPut', 'TaskPutInput', 'task { id }', input);
export const enqueue = async (input) => (await change('jobEnqueue', 'JobEnqueueInput', 'job { id }', input)).job.id;
export const script = (text) => ({ script: { text } });

/// A page in a profile of its own. What it complains of fails the story, unless `isMeant` says that it is part of it.
export async function open(browser, options = {}, isMeant = () => false) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, locale: 'en-GB', ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const note = (what) => isMeant(what) || faults.push(what);
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && note(`console: ${message.text()}`));
  page.on('pageerror', (error) => note(`thrown: ${error.message}`));
  const isOurs = (url) => url.startsWith(`${base}/`) || url.startsWith(`${base.replace('http', 'ws')}/`);
  const noteForeign = (url) => isOurs(url) || /^(data|blob):/.test(url) || note(`another host: ${url}`);
  page.on('request', (request) => noteForeign(request.url()));
  page.on('websocket', (socket) => noteForeign(socket.url()));
  await page.exposeFunction('noteViolation', (directive, uri) => note(`policy: ${directive} ${uri}`));
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) => {
      void window.noteViolation(event.violatedDirective, event.blockedURI);
    });
  });
  return page;
}

/// Goes to an address of the dashboard without loading it again, as a link does.
export async function visit(page, path) {
  await page.evaluate((to) => {
    const anchor = document.createElement('a');
    anchor.href = to;
    document.body.append(anchor);
    anchor.click();
    anchor.remove();
  }, path);
}

/// Waits until `look` gives something else than nothing.
export async function until(what, look, limitMs = PATIENCE_MS) {
  const begun = performance.now();
  for (;;) {
    const found = await look();
    if (found) return found;
    holds(performance.now() - begun < limitMs, `waited in vain for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function picture(browser, name) {
  if (!process.env.SHOTS) return;
  const pages = browser.contexts().flatMap((context) => context.pages());
  for (const [at, page] of pages.entries()) {
    const path = `${process.env.SHOTS}/${name}-${at}.png`;
    await page.screenshot({ path, timeout: 10_000 }).then(() => console.log(`  picture: ${path}`), () => undefined);
  }
}

/// Tells one story; the process ends with it.
export async function story(name, told) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-dev-shm-usage'],
  });
  let failure = null;
  try {
    await told(browser);
    holds(faults.length === 0, 'a page complained');
  } catch (error) {
    failure = [error.stack, ...faults].join('\n');
    await picture(browser, `failed-${name}`);
  }
  await browser.close();
  if (failure) console.error(failure);
  else console.log(`story: ${name}`);
  process.exitCode = failure ? 1 : 0;
  answers.close();
  process.stdin.destroy();
}
