import { defineConfig } from 'vitest/config';

export default defineConfig({
  // Relative addresses let one build be served at "/" or below any prefix.
  base: './',
  build: {
    target: 'es2022',
    // A `data:` image would need img-src beyond 'self', so nothing is inlined.
    assetsInlineLimit: 0,
    // The polyfill is dead weight on the browsers of `target`.
    modulePreload: { polyfill: false },
    sourcemap: false,
  },
  server: {
    // `npm run dev` serves the page; the addresses still come from a running gateway.
    proxy: { '/config.json': 'http://localhost:8000' },
  },
  test: { include: ['tests/**/*.test.ts'], environment: 'node' },
});
