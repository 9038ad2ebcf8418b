// The jobs screen beside SIZE jobs that have ended: its first rows, further rows as one scrolls, and filters. Times are
// printed, and judged beside a million.
import { holds, link, open, step, story, until, visit } from './harness.mjs';

const SIZE = Number(process.env.SIZE);
const LIMIT_MS = 500;
const ROWS_DRAWN = 200;

await story('past', async (browser) => {
  const page = await open(browser);
  await page.addInitScript(() => {
    /// When so many rows stand in the page that the test may see.
    window.rows = (least) =>
      new Promise((found) => {
        const check = () =>
          document.querySelectorAll('[data-job]').length >= least ? found(performance.now()) : requestAnimationFrame(check);
        check();
      });
  });
  /// Does it, and waits until rows are drawn.
  const timed = async (what, act) => {
    const begun = await page.evaluate(() => performance.now());
    await act();
    const took = Math.round((await page.evaluate(() => window.rows(20))) - begun);
    step(`${what}: ${took} ms`);
    holds(SIZE < 1_000_000 || took < LIMIT_MS, `${what} took ${took} ms`);
  };
  const newest = () => page.locator(`[data-job="job_${SIZE}"]`).waitFor();

  await page.goto(link);
  await page.getByRole('navigation', { name: 'Screens' }).waitFor();
  await visit(page, '/queues');
  await page.getByRole('heading', { level: 1, name: 'Queues' }).waitFor();
  await timed(`first rows of ${SIZE}, from another screen`, () => visit(page, '/jobs'));
  await newest();
  // Performance counts from the beginning of the load.
  await page.reload({ waitUntil: 'commit' });
  step(`first rows after a load: ${Math.round(await page.evaluate(() => window.rows(20)))} ms`);
  await newest();

  const lowest = () =>
    page.evaluate(() => Math.min(...[...document.querySelectorAll('[data-job]')].map((row) => Number(row.dataset.job.slice(4)))));
  const begun = performance.now();
  for (const depth of [500, 1_000, 2_000]) {
    await until(`row ${depth}`, async () => {
      await page.evaluate(() => window.scrollTo(0, document.documentElement.scrollHeight));
      return (await lowest()) <= SIZE - depth;
    });
    const drawn = await page.locator('[data-job]').count();
    holds(drawn > 0 && drawn <= ROWS_DRAWN, `${drawn} rows are drawn`);
  }
  step(`2,000 rows further down: ${Math.round(performance.now() - begun)} ms`);

  for (const filter of ['state=FAILED', 'queue=mail', 'task=task-3', 'label=team%3Dweb', 'text=archive']) {
    await visit(page, '/queues');
    await page.getByRole('heading', { level: 1, name: 'Queues' }).waitFor();
    await timed(`first rows of ${filter}`, () => visit(page, `/jobs?${filter}`));
  }
});
