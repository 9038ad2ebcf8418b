// What somebody has typed into the editor of a task is not lost by a link or by Back without a question.
import { holds, link, open, putTask, script, step, story, visit } from './harness.mjs';

await story('unsaved', async (browser) => {
  await putTask({ name: 'ship', command: script('echo hello') });
  const page = await open(browser);
  await page.goto(link);
  await page.getByRole('navigation', { name: 'Screens' }).waitFor();
  await visit(page, '/tasks/ship');
  await page.getByRole('link', { name: 'Edit', exact: true }).waitFor();
  await page.keyboard.press('e');
  const form = page.getByRole('form', { name: 'Edit ship' });
  await form.getByLabel('Description').fill('Brings it there.');
  const question = page.getByRole('dialog', { name: 'Leave without saving?' });
  await page.getByRole('link', { name: 'Queues', exact: true }).click();
  await question.getByRole('button', { name: 'Stay here' }).click();
  await question.waitFor({ state: 'hidden' });
  await page.goBack();
  await question.waitFor();
  await page.keyboard.press('Escape');
  await question.waitFor({ state: 'hidden' });
  holds((await form.getByLabel('Description').inputValue()) === 'Brings it there.', 'what was typed is still there');
  step('a link and Back ask first');

  await page.getByRole('link', { name: 'Queues', exact: true }).click();
  await question.getByRole('button', { name: 'Leave', exact: true }).click();
  await page.getByRole('heading', { level: 1, name: 'Queues' }).waitFor();
  step('who wants to leaves');

  await visit(page, '/tasks/ship');
  await page.getByRole('link', { name: 'Edit', exact: true }).waitFor();
  await page.keyboard.press('e');
  await form.getByLabel('Description').fill('Brings it there.');
  await form.getByRole('button', { name: 'Save' }).click();
  await form.waitFor({ state: 'hidden' });
  await page.getByRole('link', { name: 'Queues', exact: true }).click();
  await page.getByRole('heading', { level: 1, name: 'Queues' }).waitFor();
  step('who has saved is not asked');
});
