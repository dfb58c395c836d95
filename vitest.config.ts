import { defineConfig } from 'vitest/config';

/** Unit and contract tests. What needs real clients or many processes lives in tests/e2e and runs by `make e2e`. */
export default defineConfig({
  test: {
    include: ['{cmd,s3,auth,backend,s3db,transport,wal,tests}/**/*.test.ts'],
    exclude: ['tests/e2e/**', 'tests/e2e-large/**', 'node_modules/**', 'dist/**'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
});
