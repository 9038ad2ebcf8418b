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
/** The daemon takes requests from its own origin only. */
const proxy = Object.fromEntries(
  ['/graphql', '/logs'].map((path) => [
    path,
    { target: daemon, ws: true, changeOrigin: true, rewriteWsOrigin: true, headers: { origin: daemon } },
  ]),
);
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "font-src 'self'",
  "connect-src 'self'",
  "worker-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

export default defineConfig({
  plugins: [svelte()],
  resolve: {
    alias: { $lib: here('src/lib') },
    // Tests run the reactive code of the browser, not that of server-side rendering.
    ...(process.env['VITEST'] ? { conditions: ['browser'] } : {}),
  },
  server: { host: '127.0.0.1', proxy },
  // The built pages, under the policy that the daemon serves them with.
  preview: { host: '127.0.0.1', proxy, headers: { 'content-security-policy': policy } },
  build: {
    target: 'es2022',
    // Browsers that know `light-dark()` and `oklch()`, so that tokens.css is served as it is written.
    cssTarget: ['chrome123', 'firefox120', 'safari17.5'],
    sourcemap: false,
    modulePreload: { polyfill: false },
    // The playground's editor is one large piece, which its page alone loads.
    chunkSizeWarningLimit: 3_000,
    rolldownOptions: {
      input: pages,
      onwarn: (warning, warn) => {
        // React's packages say which of their files are for browsers only: all are, here.
        if (warning.code !== 'MODULE_LEVEL_DIRECTIVE') warn(warning);
      },
    },
  },
  // The threads of the playground's editor: files of ours, as modules.
  worker: { format: 'es' },
  test: { include: ['src/**/*.test.ts'], environment: 'happy-dom' },
});
