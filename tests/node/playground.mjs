// The playground as a person uses it, in a real browser: in by the link, a job, its subscription, completion by the
// schema; and nothing that the page's policy refuses, no other host, no error in the console.
// The environment says where:
//   URL, TOKEN   the daemon and a token that may run commands and follow jobs
//   CHROMIUM     the browser [default: /usr/bin/chromium]
//   SHOTS        a directory for pictures of it, optional
import { chromium } from 'playwright-core';

const base = process.env.URL ?? 'http://127.0.0.1:7878';
const token = process.env.TOKEN ?? '';
const TABS = ['Enqueue', 'Follow', 'Schedule', 'Incidents', 'Feed'];
/// For everything that is waited for, on a busy machine.
const PATIENCE_MS = 60_000;

const faults = [];
let passed = 0;

function holds(condition, what) {
  if (!condition) throw new Error(what);
  passed += 1;
}

/// A page whose every complaint is noted. `isExpected` says which are meant.
async function watched(browser, options, isExpected = () => false) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const note = (what) => isExpected(what) || faults.push(what);
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && note(`console: ${message.text()}`));
  page.on('pageerror', (error) => note(`thrown: ${error.message}`));
  page.on('request', (request) => request.url().startsWith(`${base}/`) || /^(data|blob):/.test(request.url()) || note(`foreign: ${request.url()}`));
  await page.exposeFunction('noteViolation', (directive, uri) => note(`policy: ${directive} ${uri}`));
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) => window.noteViolation(event.violatedDirective, event.blockedURI));
  });
  return page;
}

/// What the answer's side of the editor shows; only the lines in view are in the page.
async function answered(page, pattern) {
  const lines = page.locator('.graphiql-response .view-lines');
  await lines.filter({ hasText: pattern }).waitFor();
  return (await lines.innerText()).replaceAll('\u00a0', ' ');
}

async function picture(page, name) {
  if (process.env.SHOTS) await page.screenshot({ path: `${process.env.SHOTS}/playground-${name}.png` });
}

/** The field is told the key, and not the page: an editor that is just being closed may take the focus away. */
async function enter(page, word) {
  const field = page.getByLabel('Token');
  await field.fill(word);
  await field.press('Enter');
}

async function asksForAToken(browser) {
  const page = await watched(browser, { colorScheme: 'light' }, (what) => what.includes('401'));
  await page.goto(`${base}/playground`);
  await enter(page, 'nobody-has-this-token');
  await page.getByRole('alert').waitFor();
  holds(/does not take this token/.test(await page.getByRole('alert').innerText()), 'a wrong token is told so');
  await enter(page, token);
  await page.getByRole('tab', { name: 'Enqueue' }).waitFor();
  await page.context().close();
}

async function runsTheExamples(page) {
  await page.goto(`${base}/playground#token=${token}`);
  await page.locator('.graphiql-query-editor .view-lines').filter({ hasText: 'jobEnqueue' }).waitFor();
  holds(!page.url().includes(token), 'the token is gone from the address');
  const tabs = await page.getByRole('tab').allInnerTexts();
  holds(TABS.every((name) => tabs.some((tab) => tab.includes(name))), `the tabs are ${tabs}`);
  const run = page.locator('.graphiql-execute-button');
  await run.click();
  const job = /job_\d+/.exec(await answered(page, /job_\d+/))?.[0];
  holds(job === 'job_1', `the first job is ${job}`);
  await picture(page, 'enqueue');
  await page.getByRole('tab', { name: 'Follow' }).click();
  await page.locator('.graphiql-query-editor .view-lines').filter({ hasText: 'jobFollow' }).waitFor();
  await run.click();
  await answered(page, /SUCCEEDED|step/);
  holds(true, 'a subscription answers');
  await picture(page, 'follow');
}

/// The editor's threads know the schema: in a new tab a field is offered for the letters that it begins with.
async function completes(page) {
  await page.locator('.graphiql-tab-add').click();
  await page.locator('.graphiql-query-editor .monaco-editor').click();
  await page.keyboard.press('Control+A');
  await page.keyboard.type('{ jobCou');
  await page.keyboard.press('Control+Space');
  await page.locator('.suggest-widget .monaco-list-row').filter({ hasText: 'jobCounts' }).first().waitFor();
  holds(true, 'fields are offered');
  await picture(page, 'completion');
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-dev-shm-usage'],
});
try {
  await asksForAToken(browser);
  const page = await watched(browser, { colorScheme: 'dark', viewport: { width: 1440, height: 900 } });
  await runsTheExamples(page);
  await completes(page);
  for (const [name, colorScheme, width] of [['light', 'light', 1440], ['phone', 'dark', 360]]) {
    const other = await watched(browser, { colorScheme, viewport: { width, height: 800 } });
    await other.goto(`${base}/playground#token=${token}`);
    await other.locator('.graphiql-query-editor .view-lines').filter({ hasText: 'jobEnqueue' }).waitFor();
    const wide = await other.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    holds(wide <= 0, `at ${width} pixels the page is ${wide} too wide`);
    await picture(other, name);
  }
  holds(faults.length === 0, faults.join('\n'));
} catch (error) {
  const pages = browser.contexts().flatMap((context) => context.pages());
  await Promise.all(pages.map((page, at) => picture(page, `failed-${at}`)));
  throw new Error([error.message, ...faults].join('\n'));
} finally {
  await browser.close();
}
console.log(`playground: ${passed} of 9 checks passed`);
