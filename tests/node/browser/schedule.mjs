// A schedule is changed while its due times are shown as one types; what is wrong stands at its field; then it is paused with a reason.
import { change, holds, link, open, putTask, script, step, story, visit } from './harness.mjs';

await story('schedule', async (browser) => {
  await putTask({ name: 'report', command: script('echo report') });
  await change('schedulePut', 'SchedulePutInput', 'schedule { id }', {
    name: 'morning',
    task: { name: 'report' },
    timing: { cron: '0 6 * * *' },
    timeZone: 'Europe/Berlin',
  });
  const page = await open(browser, { timezoneId: 'Europe/Berlin' });
  await page.goto(link);
  await page.getByRole('link', { name: 'Schedules', exact: true }).click();
  await page.getByRole('row', { name: /morning/ }).getByText(/06:00/).first().waitFor();
  step('its rule is said in words');
  await page.getByRole('row', { name: /morning/ }).getByRole('link').first().click();
  await page.getByRole('heading', { level: 1, name: 'morning' }).waitFor();
  await page.getByRole('button', { name: 'Change', exact: true }).click();

  const dialog = page.getByRole('dialog', { name: 'Change the schedule morning' });
  const dues = dialog.getByRole('region', { name: 'Preview' }).getByRole('list', { name: 'The next due times' });
  await dues.getByText(/06:00/).first().waitFor();
  await dialog.getByLabel('Cron pattern').fill('30 7 * * 1-5');
  await dues.getByText(/07:30/).first().waitFor();
  holds((await dues.getByRole('listitem').count()) > 3, 'several due times are shown');
  step('the preview follows what one types');
  await dialog.getByLabel('Cron pattern').fill('99 7 * * *');
  await dialog.locator('[aria-invalid="true"]').first().waitFor();
  step('what is wrong stands at its field');
  await dialog.getByLabel('Cron pattern').fill('30 7 * * 1-5');
  await dues.getByText(/07:30/).first().waitFor();
  await dialog.getByRole('button', { name: 'Save', exact: true }).click();
  await dialog.waitFor({ state: 'hidden' });
  await page.getByText(/07:30/).first().waitFor();
  step('the change is there without a look for it');

  await page.getByRole('button', { name: 'Pause', exact: true }).click();
  const pausing = page.getByRole('dialog');
  await pausing.getByLabel('Why').fill('holidays');
  await pausing.getByRole('button', { name: 'Pause', exact: true }).click();
  await pausing.waitFor({ state: 'hidden' });
  await page.getByText(/holidays/).first().waitFor();
  await visit(page, '/schedules?paused=1');
  await page.getByRole('row', { name: /morning/ }).waitFor();
  step('it is paused with a reason');
});
