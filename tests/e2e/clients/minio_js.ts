import { readFileSync } from 'node:fs';
import { Agent } from 'node:https';
import { Client } from 'minio';
import { testKeys } from '../../cluster/test_config.ts';
import type { Endpoint } from './endpoint.ts';

/** minio-js with default settings: it asks for the bucket's region itself. */
export function minioJs(endpoint: Endpoint): Client {
  const url = new URL(endpoint.url);
  const keys = endpoint.keys ?? testKeys;
  return new Client({
    endPoint: url.hostname,
    port: Number(url.port),
    useSSL: true,
    accessKey: keys.accessKeyId,
    secretKey: keys.secretAccessKey,
    transportAgent: new Agent({ ca: readFileSync(endpoint.caFile), keepAlive: true }),
  });
}
