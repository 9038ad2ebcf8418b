// Owns how the dashboard is built and served while one works on it. The built pages hold no inline script and
// name no other host, so that the daemon can serve them under a strict Content-Security-Policy.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
/** The pages that are built; one that is not there yet is left out. */
const pages = ['index.html', 'playground.html'].map(here).filter((page) => existsSync(page));
const daemon = process.env['BEADLE_URL'] ?? 'http://127.0.0.1:7878';

export default defineConfig({
  plugins: [svelte()],
  resolve: {
    alias: { $lib: here('src/lib') },
    // Tests run the reactive code of the browser, not that of server-side rendering.
    ...(process.env['VITEST'] ? { conditions: ['browser'] } : {}),
  },
  server: {
    host: '127.0.0.1',
    proxy: Object.fromEntries(
      // The daemon takes requests from its own origin only.
      ['/graphql', '/logs'].map((path) => [
        path,
        { target: daemon, ws: true, changeOrigin: true, rewriteWsOrigin: true, headers: { origin: daemon } },
      ]),
    ),
  },
  build: {
    target: 'es2022',
    // Browsers that know `light-dark()` and `oklch()`, so that tokens.css is served as it is written.
    cssTarget: ['chrome123', 'firefox120', 'safari17.5'],
    sourcemap: false,
    modulePreload: { polyfill: false },
    rolldownOptions: { input: pages },
  },
  test: { include: ['src/**/*.test.ts'], environment: 'happy-dom' },
});
