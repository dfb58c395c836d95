import { testKeys, testRegion } from '../../cluster/test_config.ts';
import { runCommand } from './command.ts';
import type { Endpoint } from './endpoint.ts';

/** rclone against the remote `s3d:`, configured through its environment. */
export async function rclone(endpoint: Endpoint, ...args: readonly string[]): Promise<string> {
  const keys = endpoint.keys ?? testKeys;
  return runCommand('rclone', {
    args: ['--config', '/dev/null', '--ca-cert', endpoint.caFile, ...args],
    env: {
      PATH: process.env['PATH'] ?? '',
      HOME: '/nonexistent',
      RCLONE_CONFIG_S3D_TYPE: 's3',
      RCLONE_CONFIG_S3D_PROVIDER: 'Other',
      RCLONE_CONFIG_S3D_ENDPOINT: endpoint.url,
      RCLONE_CONFIG_S3D_REGION: testRegion,
      RCLONE_CONFIG_S3D_ACCESS_KEY_ID: keys.accessKeyId,
      RCLONE_CONFIG_S3D_SECRET_ACCESS_KEY: keys.secretAccessKey,
    },
  });
}
