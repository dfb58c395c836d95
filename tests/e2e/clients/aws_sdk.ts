import { readFileSync } from 'node:fs';
import { Agent } from 'node:https';
import { S3Client } from '@aws-sdk/client-s3';
import { testKeys, testRegion } from '../../cluster/test_config.ts';
import type { Endpoint } from './endpoint.ts';

/** The AWS SDK for JavaScript with default settings; only the CA and the endpoint are given. */
export function awsSdk(endpoint: Endpoint): S3Client {
  return new S3Client({
    endpoint: endpoint.url,
    region: testRegion,
    forcePathStyle: true,
    credentials: endpoint.keys ?? testKeys,
    requestHandler: { httpsAgent: new Agent({ ca: readFileSync(endpoint.caFile), keepAlive: true }) },
  });
}
