// The daemon is killed under the open page and started again: the page says so, shows what it knew, and comes back by
// itself with what happened meanwhile; it is never loaded again.
import { enqueue, holds, link, open, please, script, step, story, until, visit } from './harness.mjs';

await story('restart', async (browser) => {
  const isDown = { now: false };
  // While nobody listens the browser itself complains of each try.
  const page = await open(browser, {}, (what) => isDown.now && /ERR_CONNECTION_|WebSocket|Failed to load resource/.test(what));
  const first = await enqueue({ run: { command: script('echo before') }, labels: [{ key: 'story', value: 'restart' }] });
  await page.goto(link);
  await visit(page, '/jobs?label=story%3Drestart');
  await page.getByRole('link', { name: new RegExp(first) }).first().waitFor();
  await page.evaluate(() => { window.isTheSamePage = true; });

  isDown.now = true;
  await please('kill');
  await page.getByText('Not connected.').waitFor();
  holds(await page.getByRole('link', { name: new RegExp(first) }).first().isVisible(), 'what it knew is still to be read');
  step('the page says that the daemon does not speak, and shows what it knew');
  await please('start');
  const second = await enqueue({ run: { command: script('echo after') }, labels: [{ key: 'story', value: 'restart' }] });
  await page.getByText('Not connected.').waitFor({ state: 'hidden' });
  const begun = performance.now();
  const row = page.getByRole('link', { name: new RegExp(second) }).first();
  await until('the new job', async () => {
    const news = page.getByRole('button', { name: /new, show|Something changed/ });
    if (await news.isVisible()) await news.click();
    return row.isVisible();
  });
  isDown.now = false;
  step(`it came back by itself, and the new job stood there ${Math.round(performance.now() - begun)} ms later`);
  await row.click();
  await page.getByRole('region', { name: 'Output of attempt 1' }).getByText('after').waitFor();
  holds(await page.evaluate(() => window.isTheSamePage === true), 'the page was not loaded again');
  step('it is the same page');
});
