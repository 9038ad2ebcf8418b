// Many jobs at once: all that fit are selected by key, the page says what will be touched, and the daemon does it.
import { ask, change, holds, link, open, script, step, story, until, visit } from './harness.mjs';

const COUNT = 120;
const fitting = async (states) => {
  const query = 'query ($states: [JobState!]) { jobs(first: 1, filter: { queues: ["batch"], states: $states }) { totalCount } }';
  return (await ask(query, { states })).jobs.totalCount;
};

await story('bulk', async (browser) => {
  await change('queuePut', 'QueuePutInput', 'queue { id }', { name: 'batch' });
  await change('queuePause', 'QueuePauseInput', 'queue { id }', { name: 'batch', reason: 'until tonight' });
  const jobs = Array.from({ length: COUNT }, (_, at) => ({ run: { command: script(`echo ${at}`) }, queue: 'batch' }));
  jobs.push({ run: { command: script('while :; do sleep 0.05; done') } });
  await ask(
    'mutation ($input: JobEnqueueManyInput!) { jobEnqueueMany(input: $input) { results { job { id } userErrors { message } } } }',
    { input: { jobs } },
  );
  const page = await open(browser);
  await page.goto(link);
  await page.getByRole('navigation', { name: 'Screens' }).waitFor();
  await visit(page, '/jobs?queue=batch');
  await page.getByText(`of ${COUNT} jobs that fit`).waitFor();
  // The counts may come before the rows that keys act upon.
  const aRow = () => page.locator('[data-job]').first().waitFor();
  await aRow();
  const bar = page.getByRole('region', { name: 'Selected jobs' });
  await page.keyboard.press('j');
  await page.keyboard.press('x');
  await bar.getByText('1 selected').waitFor();
  await page.keyboard.press('a');
  await bar.getByText(`All ${COUNT} jobs selected`).waitFor();
  step('one is selected, and then all, more than are loaded');

  await page.keyboard.press('c');
  const cancel = page.getByRole('dialog', { name: 'Cancel jobs' });
  await cancel.getByText(`${COUNT} waiting jobs will never start.`).waitFor();
  holds((await fitting(['QUEUED'])) === COUNT, 'nothing is touched before it is confirmed');
  await page.keyboard.press('Escape');
  await cancel.waitFor({ state: 'hidden' });
  holds((await fitting(['QUEUED'])) === COUNT, 'nor when one thinks otherwise');
  step('what will be touched is said, and Escape leaves it');

  await page.keyboard.press('c');
  await cancel.getByText(`${COUNT} waiting jobs will never start.`).waitFor();
  await cancel.getByRole('button', { name: `Cancel ${COUNT} jobs` }).waitFor();
  const why = cancel.getByLabel('Why');
  await until('the keyboard to begin at the field', () => why.evaluate((field) => field === document.activeElement));
  await page.keyboard.type('the order was wrong');
  await page.keyboard.press('Enter');
  await cancel.waitFor({ state: 'hidden' });
  await page.getByText(`${COUNT} jobs are cancelled or asked to stop.`).waitFor();
  holds((await fitting(['CANCELLED'])) === COUNT, 'they are cancelled');
  const { jobs: others } = await ask('{ jobs(first: 5, filter: { states: [RUNNING] }) { totalCount } }');
  holds(others.totalCount === 1, 'what did not fit still runs');
  step('they are cancelled, and no other');

  await visit(page, '/jobs?queue=batch&state=CANCELLED');
  await page.getByText(`${COUNT} of them below`).waitFor();
  await aRow();
  await page.keyboard.press('a');
  await bar.getByText(`All ${COUNT} jobs selected`).waitFor();
  await page.keyboard.press('t');
  const retry = page.getByRole('dialog', { name: 'Retry jobs' });
  await retry.getByText(`${COUNT} new jobs are made: ${COUNT} cancelled.`).waitFor();
  const action = retry.getByRole('button', { name: `Retry ${COUNT} jobs` });
  await action.waitFor();
  for (let tabs = 0; !(await action.evaluate((button) => button === document.activeElement)); tabs += 1) {
    holds(tabs < 8, 'the button is reached by Tab');
    await page.keyboard.press('Tab');
  }
  await page.keyboard.press('Enter');
  await retry.waitFor({ state: 'hidden' });
  await page.getByText(`${COUNT} jobs are made anew.`).waitFor();
  holds((await fitting(['QUEUED'])) === COUNT, 'as many wait again');
  step('they are made anew');

  await visit(page, '/jobs?queue=batch');
  await page.getByText(`of ${2 * COUNT} jobs that fit`).waitFor();
  await page.keyboard.press('a');
  await page.keyboard.press('c');
  await cancel.getByText(`${COUNT} waiting jobs will never start. ${COUNT} jobs stay as they are: ended already.`).waitFor();
  step('what stays as it is is said too');
});
