import { testKeys } from '../../cluster/test_config.ts';
import { runCommand } from './command.ts';
import type { Endpoint } from './endpoint.ts';

/** s3cmd with default settings; only the endpoint, the CA and the keys are given. */
export async function s3cmd(endpoint: Endpoint, ...args: readonly string[]): Promise<string> {
  const keys = endpoint.keys ?? testKeys;
  const host = new URL(endpoint.url).host;
  return runCommand('s3cmd', {
    args: [
      '--config=/dev/null',
      `--access_key=${keys.accessKeyId}`,
      `--secret_key=${keys.secretAccessKey}`,
      `--host=${host}`,
      `--host-bucket=${host}`,
      `--ca-certs=${endpoint.caFile}`,
      '--no-progress',
      ...args,
    ],
    env: { PATH: process.env['PATH'] ?? '', HOME: '/nonexistent', LC_ALL: 'C.UTF-8' },
  });
}
