import { testKeys, testRegion } from '../../cluster/test_config.ts';

/** An S3 endpoint and who asks; every client is told the same. */
export interface Endpoint {
  readonly url: string;
  readonly caFile: string;
  readonly keys?: { readonly accessKeyId: string; readonly secretAccessKey: string };
}

/** The environment in which AWS's own clients run: nothing of this machine's configuration leaks in. */
export function awsEnvironment(endpoint: Endpoint): Record<string, string> {
  const keys = endpoint.keys ?? testKeys;
  return {
    PATH: process.env['PATH'] ?? '',
    HOME: '/nonexistent',
    LC_ALL: 'C.UTF-8',
    AWS_ACCESS_KEY_ID: keys.accessKeyId,
    AWS_SECRET_ACCESS_KEY: keys.secretAccessKey,
    AWS_DEFAULT_REGION: testRegion,
    AWS_CA_BUNDLE: endpoint.caFile,
    AWS_ENDPOINT_URL: endpoint.url,
    AWS_EC2_METADATA_DISABLED: 'true',
  };
}
