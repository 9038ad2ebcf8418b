// The first load is small enough for a phone at night, and every screen can be used by everybody: axe-core finds nothing
// serious, in light and in dark, at a desk and on a phone, where nothing is wider than the screen.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { request } from 'node:http';
import { base, holds, link, open, step, story, visit } from './harness.mjs';
import { screens, seed, settle } from './seed.mjs';

const LARGEST_BYTES = 2_000_000;
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/// How many bytes one address takes on the wire.
function sizeOf(url) {
  return new Promise((resolve, reject) => {
    const asked = request(url, { headers: { 'accept-encoding': 'br' } }, (answer) => {
      let size = 0;
      answer.on('data', (part) => (size += part.length));
      answer.on('end', () => resolve(size));
      answer.on('error', reject);
    });
    asked.on('error', reject);
    asked.end();
  });
}

async function firstLoad(browser) {
  const loaded = new Set();
  const page = await open(browser);
  page.on('request', (asked) => asked.url().startsWith(`${base}/graphql`) || loaded.add(asked.url().split('#')[0]));
  await settle(page, () => page.goto(link));
  { const { brotliCompressSync } = await import('node:zlib'); let t = 0; for (const u of loaded) if (u.startsWith(base)) t += brotliCompressSync(Buffer.from(await (await fetch(u)).arrayBuffer())).length; console.log('brotli', t); } const sizes = await Promise.all([...loaded].filter((url) => url.startsWith(base)).map(sizeOf));
  const total = sizes.reduce((sum, size) => sum + size, 0);
  step(`the first load is ${total} bytes in ${sizes.length} files`);
  holds(sizes.length > 2 && total <= LARGEST_BYTES, `the first load is ${total} bytes`);
  return page;
}

/// What axe-core calls serious or worse.
async function troubles(page, options) {
  const violations = await page.evaluate(async (options) => {
    const found = await window.axe.run(document, options);
    return found.violations.map(({ id, impact, nodes }) => ({ id, impact, at: nodes.map((node) => `${node.target} ${node.failureSummary}`) }));
  }, options);
  const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
  return serious.map(({ id, at }) => `${id} (${at.length}): ${at.slice(0, 3).join(' | ')}`);
}

await story('everybody', async (browser) => {
  const page = await firstLoad(browser);
  const all = screens(await seed());
  await page.emulateMedia({ reducedMotion: 'reduce' });
  await page.evaluate(axe);
  const found = [];
  // Light first, then only what colours can change.
  for (const [colorScheme, options] of [['light', {}], ['dark', { runOnly: ['color-contrast', 'link-in-text-block'] }]]) {
    await page.emulateMedia({ colorScheme });
    for (const [name, path] of Object.entries(all)) {
      await settle(page, () => visit(page, path));
      let standing = await troubles(page, options);
      // The page lives: what was exchanged while axe looked at it is looked at again.
      if (standing.length > 0) {
        await settle(page, async () => undefined);
        standing = await troubles(page, options);
      }
      found.push(...standing.map((trouble) => `${name}, ${colorScheme}: ${trouble}`));
    }
  }
  step(`${Object.keys(all).length} screens were looked at in light and dark`);
  await page.setViewportSize({ width: 360, height: 740 });
  for (const [name, path] of Object.entries(all)) {
    await settle(page, () => visit(page, path));
    const excess = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    if (excess > 0) found.push(`${name}: on a phone it is ${excess} pixels too wide`);
  }
  step('and on a phone');
  holds(found.length === 0, found.join('\n'));
});
