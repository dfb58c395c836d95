import { testKeys, testRegion } from '../../cluster/test_config.ts';
import { runCommand } from './command.ts';
import type { Endpoint } from './endpoint.ts';

/** restic on a repository in a bucket, which `init` makes. */
export async function restic(
  endpoint: Endpoint,
  repository: { readonly bucket: string; readonly cacheDirectory: string },
  ...args: readonly string[]
): Promise<string> {
  const keys = endpoint.keys ?? testKeys;
  return runCommand('restic', {
    args: ['--cacert', endpoint.caFile, '--cache-dir', repository.cacheDirectory, ...args],
    env: {
      PATH: process.env['PATH'] ?? '',
      HOME: '/nonexistent',
      RESTIC_REPOSITORY: `s3:${endpoint.url}/${repository.bucket}`,
      RESTIC_PASSWORD: 'a password of the test',
      AWS_ACCESS_KEY_ID: keys.accessKeyId,
      AWS_SECRET_ACCESS_KEY: keys.secretAccessKey,
      AWS_DEFAULT_REGION: testRegion,
    },
  });
}
