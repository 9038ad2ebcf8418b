// In by the link of the banner; a task with a schema is run from its form; its progress and its log are watched live.
import { link, holds, open, putTask, script, step, story, visit } from './harness.mjs';

const LINES = `
report() { printf '%s\\n' "$1" > "$BEADLE_REPORT"; }
echo "shipping $BEADLE_PARAM_HOST"
report '{"progress": {"done": 1, "total": 4, "unit": "layers"}, "status": "uploading"}'
while [ ! -e go-on ]; do sleep 0.05; done
printf '\\033[32mlayer two is there\\033[0m\\n'
report '{"progress": {"done": 3, "total": 4, "unit": "layers"}, "status": "checking"}'
while [ ! -e finish ]; do sleep 0.05; done
echo "all layers are there"
`;
const SCHEMA = {
  type: 'object',
  required: ['host'],
  additionalProperties: false,
  properties: {
    host: { type: 'string', pattern: '^[a-z0-9-]+$', description: 'Where it goes.' },
    size: { type: 'string', enum: ['small', 'large'], default: 'small' },
    copies: { type: 'integer', minimum: 1, maximum: 5, default: 1 },
  },
};

await story('run', async (browser) => {
  const place = process.env.HOME;
  const { writeFile } = await import('node:fs/promises');
  await putTask({
    name: 'ship',
    command: { script: { ...script(LINES).script, workingDirectory: place } },
    parametersSchema: SCHEMA,
  });

  const page = await open(browser);
  await page.goto(link);
  await page.getByRole('navigation', { name: 'Screens' }).waitFor();
  holds(!page.url().includes('token'), 'the token is gone from the address');
  step('the link of the banner leads in');

  await page.getByRole('link', { name: 'Tasks', exact: true }).click();
  await page.getByRole('link', { name: 'ship' }).first().click();
  const form = page.getByRole('form', { name: 'Run ship' });
  await form.getByLabel('host').fill('Not A Host');
  await form.getByRole('button', { name: 'Run', exact: true }).click();
  await form.locator('[aria-invalid="true"]').waitFor();
  step('what the schema refuses is said at its field');

  await form.getByLabel('host').fill('web-3');
  await form.getByLabel('size').selectOption({ label: 'large' });
  await form.getByLabel('copies').fill('2');
  await form.getByRole('button', { name: 'Run', exact: true }).click();
  await page.getByRole('list', { name: 'Jobs made here' }).getByRole('link', { name: 'job_1' }).click();
  await page.waitForURL(/\/jobs\/job_1/);
  step('the form makes a job');

  const output = page.getByRole('region', { name: 'Output of attempt 1' });
  const bar = page.getByRole('progressbar', { name: 'Progress', exact: true }).first();
  const shows = (percent) => page.waitForFunction(
    (wanted) => [...document.querySelectorAll('[role=progressbar]')].some((bar) => bar.getAttribute('aria-valuenow') === wanted),
    percent,
  );
  await output.getByText('shipping web-3').waitFor();
  await shows('25');
  await page.locator('.progress').getByText('uploading').first().waitFor();
  await writeFile(`${place}/go-on`, '');
  await output.getByText('layer two is there').waitFor();
  await shows('75');
  await bar.waitFor();
  const green = output.getByText('layer two is there');
  const plain = output.getByText('shipping web-3');
  const colour = (line) => line.evaluate((element) => getComputedStyle(element).color);
  holds((await colour(green)) !== (await colour(plain)), 'what the terminal would colour is coloured');
  step('its progress and its output are shown as they come');

  await writeFile(`${place}/finish`, '');
  await output.getByText('all layers are there').waitFor();
  await page.getByRole('button', { name: 'Retry', exact: true }).waitFor();
  await page.getByRole('heading', { level: 1 }).locator('..').getByText('succeeded').first().waitFor();
  step('its end is shown without a look at it');

  await visit(page, '/jobs');
  await page.getByRole('link', { name: /job_1\b/ }).first().waitFor();
  step('it stands in the list of jobs');
});
