import { getRequestListener } from '@hono/node-server';
import { expect, it } from 'vitest';
import { TestAuthority } from '../transport/testing/certificates.ts';
import { serveS3 } from './server.ts';
import { aliceOwner, createHarness } from './testing/harness.ts';
import { RawClient, rawHead } from './testing/raw_client.ts';

it('answers HEAD where the adapter has replaced the global Response', async () => {
  const s3 = createHarness();
  s3.backend.addBucket('b', { owner: aliceOwner });
  const { cert, key } = new TestAuthority().issue('localhost');
  const { logger } = { logger: { info: () => undefined, warn: () => undefined, error: () => undefined } };
  const tls = { cert: String(cert), key: String(key) };
  const server = await serveS3({ app: s3.app, host: '127.0.0.1', port: 0, tls, logger });
  // Replaces it, unless told otherwise, for the whole process.
  getRequestListener(() => new Response());
  const raw = await RawClient.open(server.port);
  for (let times = 0; times < 2; times++) {
    raw.send(rawHead({ method: 'HEAD', target: '/b' }));
    expect(await raw.take(/^HTTP\/1.1 200 OK[^]*?\r\n\r\n/)).toContain('x-amz-bucket-region');
    expect(raw.received).toBe('');
  }
  raw.destroy();
  await server.close(0);
});
