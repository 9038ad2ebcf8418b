// A token that is wrong is refused in words; one that may only read sees what there is and no button that it may not press.
import { base, change, enqueue, holds, open, script, step, story, token } from './harness.mjs';

await story('tokens', async (browser) => {
  await enqueue({ run: { command: script('echo hello') } });
  const made = await change('tokenCreate', 'TokenCreateInput', 'secret', {
    name: 'wall',
    grants: [{ verb: 'READ' }],
  });

  // The browser itself writes an answer of 401 into the console.
  const page = await open(browser, {}, (what) => what.includes('401'));
  await page.goto(`${base}/jobs?state=FAILED`);
  await page.getByLabel('Token').fill('nobody-has-this-token');
  await page.getByRole('button', { name: 'Enter' }).click();
  await page.getByRole('alert').waitFor();
  step('a wrong token is refused in words');

  await page.getByLabel('Token').fill(token);
  await page.getByRole('button', { name: 'Enter' }).click();
  await page.getByRole('heading', { level: 1, name: 'Jobs' }).waitFor();
  holds(page.url().endsWith('/jobs?state=FAILED'), `it leads to where one wanted to go, not to ${page.url()}`);
  await page.reload();
  await page.getByRole('heading', { level: 1, name: 'Jobs' }).waitFor();
  step('the right one leads to where one wanted to go, and is kept for the tab');

  const screens = page.getByRole('navigation', { name: 'Screens' });
  const ofTokens = screens.getByRole('link', { name: 'Access', exact: true });
  await page.goto(`${base}/`);
  await ofTokens.waitFor();
  // Of the same page only the fragment changes, and the browser loads nothing anew.
  await page.goto(`${base}/#token=${made.secret}`);
  await ofTokens.waitFor({ state: 'detached' });
  await screens.waitFor();
  holds((await ofTokens.count()) === 0, 'the page is that of the other token');
  holds(!page.url().includes('token'), `the token is out of the address, which is ${page.url()}`);
  step('a link with another token counts in an open page too');

  const reader = await open(browser);
  await reader.goto(`${base}/#token=${made.secret}`);
  const rail = reader.getByRole('navigation', { name: 'Screens' });
  await rail.waitFor();
  holds((await rail.getByRole('link', { name: 'Access', exact: true }).count()) === 0, 'tokens are not offered to a reader');
  await rail.getByRole('link', { name: 'Queues', exact: true }).click();
  await reader.getByRole('button', { name: 'Actions for default' }).click();
  const pause = reader.getByRole('menuitem', { name: /Pause/ });
  await pause.waitFor();
  holds((await pause.getAttribute('aria-disabled')) === 'true', 'pausing is not open to a reader');
  holds(/lacks the grant operate/.test(await pause.innerText()), 'what is missing is said');
  await reader.keyboard.press('Escape');
  step('a reader is told which grant is missing');

  await reader.goto(`${base}/jobs/job_1`);
  await reader.getByRole('button', { name: 'Retry', exact: true }).waitFor();
  holds(await reader.getByRole('button', { name: 'Retry', exact: true }).isDisabled(), 'a reader cannot repeat a job');
  await reader.getByRole('region', { name: 'Output of attempt 1' }).getByText('hello').waitFor();
  await reader.goto(`${base}/access`);
  await reader.getByRole('heading', { level: 1, name: 'Access' }).waitFor();
  await reader.getByText(/admin/i).first().waitFor();
  step('a reader reads, and no more');
});
