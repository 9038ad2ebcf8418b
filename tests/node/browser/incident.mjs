// A task that fails becomes an incident under the eyes of who looks; it is resolved by key, and comes back with the next failure.
import { enqueue, link, open, putTask, script, step, story, visit } from './harness.mjs';

await story('incident', async (browser) => {
  await putTask({
    name: 'sync-crm',
    command: script('echo "fetching contacts"; echo "error: connection refused 10.0.0.7:5432" >&2; exit 2'),
  });
  const page = await open(browser);
  await page.goto(link);
  await visit(page, '/incidents');
  await page.getByText('Nothing is open.').waitFor();
  await enqueue({ run: { task: { name: 'sync-crm' } } });
  const row = page.getByRole('row', { name: /connection refused/ });
  await row.waitFor();
  step('a failure becomes an incident while one looks');
  await enqueue({ run: { task: { name: 'sync-crm' } } });
  await row.getByRole('cell', { name: '2', exact: true }).waitFor();
  step('the next of its kind is counted into it');

  await row.getByRole('link').first().click();
  await page.getByRole('heading', { level: 1, name: 'Incident incident_1' }).waitFor();
  const sample = page.getByRole('region', { name: 'The end of the log' });
  await sample.getByText('fetching contacts').waitFor();
  await page.getByRole('table', { name: /Jobs with an attempt/ }).getByRole('link', { name: 'job_2' }).waitFor();
  step('its page shows what was written and which jobs');

  await page.keyboard.press('e');
  const dialog = page.getByRole('dialog', { name: 'Resolve the incident' });
  await dialog.getByLabel('Note').fill('The firewall was changed back.');
  await dialog.getByRole('button', { name: 'Resolve', exact: true }).click();
  await dialog.waitFor({ state: 'hidden' });
  await page.getByText('resolved', { exact: true }).first().waitFor();
  await visit(page, '/incidents');
  await page.getByText('Nothing is open.').waitFor();
  step('it is resolved');

  await enqueue({ run: { task: { name: 'sync-crm' } } });
  await page.getByRole('row', { name: /connection refused/ }).getByText('came back').waitFor();
  step('the next failure opens it again');
});
