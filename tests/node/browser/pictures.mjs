// Takes the pictures of every screen, from a seeded daemon: docs/pictures/SCREEN-light-1440.png and so on, to be looked
// at, and docs/dashboard.png for the README. Run by `cargo test --test it -- --ignored pictures`.
import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { link, open, step, story, visit } from './harness.mjs';
import { screens, seed, settle } from './seed.mjs';

const docs = fileURLToPath(new URL('../../../docs/', import.meta.url));
const README = { width: 1440, height: 1000 };

await story('pictures', async (browser) => {
  const all = screens(await seed({ hasNap: true }));
  await mkdir(`${docs}pictures`, { recursive: true });
  for (const [width, height] of [[1440, 1000], [360, 740]]) {
    const page = await open(browser, { viewport: { width, height }, reducedMotion: 'reduce', timezoneId: 'Europe/Berlin' });
    await page.goto(link);
    for (const [name, path] of Object.entries(all)) {
      await settle(page, () => visit(page, path));
      for (const colorScheme of ['light', 'dark']) {
        await page.emulateMedia({ colorScheme });
        // Charts and strips are drawn after the data is there.
        await page.waitForTimeout(300);
        await page.screenshot({ path: `${docs}pictures/${name}-${colorScheme}-${width}.png` });
      }
    }
    step(`${width} pixels`);
  }
  const page = await open(browser, { viewport: README, colorScheme: 'light', reducedMotion: 'reduce', timezoneId: 'Europe/Berlin' });
  await settle(page, () => page.goto(link));
  await page.waitForTimeout(1_000);
  await page.screenshot({ path: `${docs}dashboard.png` });
  step('docs/dashboard.png');
});
