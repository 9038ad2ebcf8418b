// A running job is stopped from its page, with the reason; then it is repeated, and the new one is shown.
import { enqueue, link, open, script, step, story, visit } from './harness.mjs';

await story('stop', async (browser) => {
  const id = await enqueue({
    run: { command: script('trap "echo told to stop; exit 3" TERM; echo at work; while :; do sleep 0.05; done') },
  });
  const page = await open(browser);
  await page.goto(link);
  await visit(page, `/jobs/${id}`);
  await page.getByRole('region', { name: 'Output of attempt 1' }).getByText('at work').waitFor();
  await page.getByRole('button', { name: 'Stop', exact: true }).click();
  const dialog = page.getByRole('dialog', { name: `Stop ${id}` });
  await dialog.getByLabel('Why').fill('the wrong host');
  await dialog.getByRole('button', { name: 'Stop', exact: true }).click();
  await dialog.waitFor({ state: 'hidden' });
  await page.getByRole('region', { name: 'Output of attempt 1' }).getByText('told to stop').waitFor();
  const head = page.getByRole('heading', { level: 1 }).locator('..');
  await head.getByText(/cancelled/i).first().waitFor();
  step('it is stopped, its last words are shown, and who stopped it');
  await page.getByText('the wrong host').first().waitFor();
  step('the reason stands on its page');

  await page.getByRole('button', { name: 'Retry', exact: true }).click();
  await page.waitForURL(/\/jobs\/job_2/);
  await page.getByRole('heading', { level: 1, name: /job_2/ }).waitFor();
  await page.getByRole('link', { name: id }).first().waitFor();
  await page.getByRole('region', { name: 'Output of attempt 1' }).getByText('at work').waitFor();
  step('it is repeated as a new job that says of which');

  await page.keyboard.press('c');
  const again = page.getByRole('dialog', { name: 'Stop job_2' });
  await again.getByRole('button', { name: 'Stop', exact: true }).click();
  await again.waitFor({ state: 'hidden' });
  await head.getByText(/cancelled/i).first().waitFor();
  step('the key c asks the same');
});
