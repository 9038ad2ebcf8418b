// A log of SIZE lines of 88 bytes: it opens at its end, any part of it is one question away, and the page holds no more
// of it than what is seen. Times and memory are printed, not judged.
import { readFileSync } from 'node:fs';
import { ask, enqueue, holds, link, open, script, step, story, until, visit } from './harness.mjs';

const LINES = Number(process.env.SIZE);
const BYTES = LINES * 88;
/// What the daemon looks at for one answer to a search.
const SEARCHED_AT_ONCE = 64 * 1024 * 1024;
const FAILS_AT = Math.floor(LINES * 0.9);
const HELD_BYTES = 16_000_000;
const ROWS_DRAWN = 200;

const line = (number) => `${String(number).padStart(8, '0')} GET`;
const PRINT = `awk 'BEGIN { for (line = 1; line <= ${LINES}; line++) {
  if (line == ${FAILS_AT}) printf "%08d ERROR: the catalogue cannot be read from the disk, it was tried three times\\n", line
  else printf "%08d GET /catalogue/pictures/%08d answered in %4d ms by web-3, nothing to note\\n", line, line, line % 977
} }'`;

await story('log', async (browser) => {
  const id = await enqueue({ run: { command: script(PRINT) } });
  const isOver = async () => {
    const { job } = await ask('query ($id: ID!) { job(id: $id) { state failure { message } } }', { id });
    return job.state === 'SUCCEEDED';
  };
  await until('the log to be written', isOver, 200_000);

  const page = await open(browser);
  const tools = await page.context().newCDPSession(page);
  await tools.send('Performance.enable');
  let questions = 0;
  page.on('request', (request) => request.url().endsWith('/graphql') && (questions += 1));
  await page.addInitScript(() => {
    /// When a row with the text stands in the page.
    window.seen = (text) =>
      new Promise((found) => {
        const look = () => [...document.querySelectorAll('[data-row]')].some((row) => row.textContent.includes(text));
        const check = () => (look() ? found(performance.now()) : requestAnimationFrame(check));
        check();
      });
  });
  const heldBytes = async () => {
    await tools.send('HeapProfiler.collectGarbage');
    const { metrics } = await tools.send('Performance.getMetrics');
    return metrics.find(({ name }) => name === 'JSHeapUsedSize').value;
  };
  const resident = async () => {
    const session = await browser.newBrowserCDPSession();
    const { processInfo } = await session.send('SystemInfo.getProcessInfo');
    const sizes = processInfo.filter(({ type }) => type === 'renderer').map(({ id: pid }) => {
      const status = readFileSync(`/proc/${pid}/status`, 'utf8');
      return { all: Number(/VmRSS:\s+(\d+)/.exec(status)[1]), own: Number(/RssAnon:\s+(\d+)/.exec(status)[1]) };
    });
    const [largest] = sizes.sort((left, right) => right.all - left.all);
    return `${Math.round(largest.all / 1024)} MB resident, ${Math.round(largest.own / 1024)} MB of its own`;
  };
  /// Does it, waits for the row, and says how long it took and how often the daemon was asked.
  const timed = async (what, text, most, act) => {
    questions = 0;
    const begun = await page.evaluate(() => performance.now());
    await act();
    const took = (await page.evaluate((text) => window.seen(text), text)) - begun;
    step(`${what}: ${Math.round(took)} ms, ${questions} questions`);
    holds(questions <= most, `${what} took ${questions} questions`);
  };

  await page.goto(link);
  await page.getByRole('navigation', { name: 'Screens' }).waitFor();
  await visit(page, '/queues');
  await page.getByRole('heading', { level: 1, name: 'Queues' }).waitFor();
  const before = await heldBytes();
  await timed(`a log of ${Math.round(BYTES / 1e6)} MB opens at its end`, line(LINES), 6, () => visit(page, `/jobs/${id}`));
  const output = page.getByRole('region', { name: 'Output of attempt 1' });
  await output.focus();
  await timed('its beginning', line(1), 3, () => page.keyboard.press('Home'));
  await timed('its end again', line(LINES), 3, () => page.keyboard.press('End'));

  const places = 60;
  questions = 0;
  for (let place = 0; place < places; place += 1) {
    await output.evaluate((pane, share) => (pane.scrollTop = share * pane.scrollHeight), ((place * 37) % places) / places);
    await page.waitForFunction(() => {
      const rows = [...document.querySelectorAll('[data-row]')];
      return rows.length > 0 && rows.every((row) => / (GET|ERROR)/.test(row.textContent));
    });
  }
  const drawn = await page.evaluate(() => document.querySelectorAll('[data-row]').length);
  const held = (await heldBytes()) - before;
  step(`${places} places all over it: ${questions} questions, ${drawn} rows drawn, ${(held / 1e6).toFixed(1)} MB more held`);
  holds(drawn <= ROWS_DRAWN, `${drawn} rows are drawn`);
  holds(held < HELD_BYTES, `${held} bytes are held`);
  step(`the page: ${await resident()}`);

  const answers = Math.ceil(BYTES / SEARCHED_AT_ONCE) + 2;
  await timed('the first error', 'ERROR: the catalogue', answers + 2, () => page.keyboard.press('e'));
  await page.waitForURL(/line=\d+/);
  // A line whose writer stood still for a moment is kept as two.
  const marked = Number(/line=(\d+)/.exec(page.url())[1]);
  holds(marked >= FAILS_AT && marked < FAILS_AT + 20, `line ${marked} is marked`);
  await timed('a rare text', line(77), answers, async () => {
    await page.keyboard.press('/');
    await page.keyboard.type('pictures/00000077');
  });
  await page.getByRole('status').getByText('Found 1 line.', { exact: true }).waitFor();
  step(`after the search: ${questions} questions, ${await resident()}`);
  holds(questions <= answers, `the search took ${questions} questions`);
});
