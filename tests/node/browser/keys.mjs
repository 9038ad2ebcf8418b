// Without a mouse: a task is found, its form is filled and sent, its log is followed; then a command that is no task.
import { holds, link, open, putTask, script, step, story, until } from './harness.mjs';

const SCHEMA = {
  type: 'object',
  required: ['host'],
  properties: {
    host: { type: 'string', description: 'Where it goes.' },
    size: { type: 'string', enum: ['small', 'large'], default: 'small' },
    copies: { type: 'integer', minimum: 1, maximum: 5, default: 1 },
  },
};

await story('keys', async (browser) => {
  const place = process.env.HOME;
  const { writeFile } = await import('node:fs/promises');
  const text = 'echo "to $BEADLE_PARAM_HOST, $BEADLE_PARAM_SIZE, $BEADLE_PARAM_COPIES"; while [ ! -e go-on ]; do sleep 0.05; done; echo arrived';
  await putTask({
    name: 'ship',
    command: { script: { ...script(text).script, workingDirectory: place } },
    parametersSchema: SCHEMA,
  });
  const page = await open(browser);
  const isFocused = (locator) => locator.evaluate((element) => element === document.activeElement);
  const press = async (...keys) => {
    for (const key of keys) await page.keyboard.press(key);
  };
  await page.goto(link);
  await page.getByRole('navigation', { name: 'Screens' }).waitFor();
  await press('g', 't');
  await page.waitForURL(/\/tasks/);
  const row = page.getByRole('link', { name: /^ship/ });
  await row.waitFor();
  await press('/');
  await page.keyboard.type('shi');
  for (let tabs = 0; !(await isFocused(row)); tabs += 1) {
    holds(tabs < 12, 'the task is reached by Tab');
    await press('Tab');
  }
  await press('Enter');
  const form = page.getByRole('form', { name: 'Run ship' });
  await form.waitFor();
  step('the task is found');

  await press('r');
  const host = form.getByLabel('host');
  await until('r to lead to its form', () => isFocused(host));
  await page.keyboard.type('web-3');
  // What is needed stands first, then the others by name.
  await press('Tab', 'Tab', 'l');
  await press('Shift+Tab', 'Control+a', '2', 'Enter');
  const made = page.getByRole('list', { name: 'Jobs made here' }).getByRole('link', { name: 'job_1' });
  await made.waitFor();
  await until('the keyboard to stand at the job that was made', () => isFocused(made));
  await press('Enter');
  await page.waitForURL(/\/jobs\/job_1/);
  const output = page.getByRole('region', { name: 'Output of attempt 1' });
  await output.getByText('to web-3, large, 2').waitFor();
  await writeFile(`${place}/go-on`, '');
  await output.getByText('arrived').waitFor();
  step('it is run from its form and its log is followed');

  await press('r');
  const dialog = page.getByRole('dialog', { name: 'Run a command' });
  await dialog.waitFor();
  await until('the keyboard to begin at the command', () => isFocused(dialog.getByLabel('Command')));
  await page.keyboard.type('seq -f "count %g" 3');
  await press('Control+Enter');
  await dialog.waitFor({ state: 'hidden' });
  await page.waitForURL(/\/jobs\/job_2/);
  await page.getByRole('heading', { level: 1, name: /job_2/ }).waitFor();
  await output.getByText('count 3').waitFor();
  step('so is a command');
});
