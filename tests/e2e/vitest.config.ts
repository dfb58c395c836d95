import { defineConfig } from 'vitest/config';

/** Real processes and real clients, one file at a time: each starts a cluster of its own. */
export default defineConfig({
  test: {
    include: ['tests/e2e/**/*.test.ts'],
    globalSetup: ['tests/e2e/install_clients.ts'],
    fileParallelism: false,
    testTimeout: 240_000,
    hookTimeout: 240_000,
    bail: 0,
  },
});
