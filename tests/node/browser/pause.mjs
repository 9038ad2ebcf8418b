// A queue is paused with a reason in the browser; the jobs that wait for it say the reason, here and there, until it is resumed.
import { change, enqueue, link, open, script, step, story, visit } from './harness.mjs';

await story('pause', async (browser) => {
  await change('queuePut', 'QueuePutInput', 'queue { id }', { name: 'deploy', concurrencyLimit: 1 });
  const page = await open(browser);
  await page.goto(link);
  await page.getByRole('link', { name: 'Queues', exact: true }).click();
  await page.getByRole('button', { name: 'Actions for deploy' }).click();
  await page.getByRole('menuitem', { name: /Pause/ }).click();
  const dialog = page.getByRole('dialog', { name: 'Pause the queue deploy' });
  await dialog.getByLabel('Why').fill('the disk is being replaced');
  await dialog.getByRole('button', { name: 'Pause', exact: true }).click();
  await dialog.waitFor({ state: 'hidden' });
  const row = page.getByRole('row', { name: /deploy/ });
  await row.getByText('the disk is being replaced').waitFor();
  step('a queue is paused with its reason');

  const id = await enqueue({ run: { command: script('echo deployed') }, queue: 'deploy' });
  await row.getByRole('link', { name: '1', exact: true }).click();
  await page.waitForURL(/\/jobs\?/);
  await page.getByRole('link', { name: new RegExp(id) }).first().waitFor();
  await page.getByText(/the disk is being replaced/).first().waitFor();
  step('the list of jobs says why it waits');
  await page.getByRole('link', { name: new RegExp(id) }).first().click();
  const why = page.getByRole('region', { name: 'Why it waits' });
  await why.getByText(/the disk is being replaced/).waitFor();
  step('so does the page of the job');
  await visit(page, '/');
  await page.getByRole('list', { name: 'Waiting jobs' }).getByText(/the disk is being replaced/).waitFor();
  step('so does Now');

  await page.getByRole('link', { name: 'Queues', exact: true }).click();
  await page.getByRole('button', { name: 'Actions for deploy' }).click();
  await page.getByRole('menuitem', { name: /Resume/ }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Resume', exact: true }).click();
  await visit(page, `/jobs/${id}`);
  await page.getByRole('region', { name: 'Output of attempt 1' }).getByText('deployed').waitFor();
  step('it runs once the queue is resumed');
});
