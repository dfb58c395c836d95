import { defineConfig } from 'vitest/config';

/** Files of up to 1 GB by every client: minutes, so a command to run once and not part of CI. */
export default defineConfig({
  test: {
    include: ['tests/e2e-large/**/*.test.ts'],
    globalSetup: ['tests/e2e/install_clients.ts'],
    fileParallelism: false,
    testTimeout: 900_000,
    hookTimeout: 240_000,
  },
});
