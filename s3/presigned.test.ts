import aws4 from 'aws4';
import { beforeEach, describe, expect, it } from 'vitest';
import type { PutObjectRequest } from '../backend/backend.ts';
import { alice, aliceOwner, createHarness, type Harness, region, textOf } from './testing/harness.ts';

let s3: Harness;

beforeEach(() => {
  s3 = createHarness();
  s3.backend.addBucket('b', { owner: aliceOwner });
});

interface Presign {
  readonly method?: string;
  readonly path: string;
  readonly expiresS?: number;
}

/** The target of a presigned URL. */
function presign({ method = 'GET', path, expiresS = 60 }: Presign): string {
  const separator = path.includes('?') ? '&' : '?';
  const signed = aws4.sign(
    {
      method,
      host: 's3.test',
      path: `${path}${separator}X-Amz-Expires=${expiresS}`,
      service: 's3',
      region,
      signQuery: true,
      doNotEncodePath: true,
    },
    { accessKeyId: alice.accessKeyId, secretAccessKey: alice.secretAccessKey },
  );
  return signed.path ?? '';
}

async function send(
  target: string,
  request: { method?: string; body?: string; headers?: Record<string, string> } = {},
): Promise<Response> {
  return s3.send({ target, as: null, ...request });
}

describe('presigned URLs', () => {
  it('read and write without headers of their own', async () => {
    const put = await send(presign({ method: 'PUT', path: '/b/k' }), { method: 'PUT', body: 'hello' });
    expect(put.status).toBe(200);
    const got = await send(presign({ path: '/b/k?response-content-type=text%2Fx' }));
    expect([got.status, got.headers.get('content-type'), await got.text()]).toEqual([200, 'text/x', 'hello']);
    expect(s3.log.at(-1)?.fields['accessKeyId']).toBe(alice.accessKeyId);
    expect(JSON.stringify(s3.log)).not.toContain('Signature');
  });

  it('are bound to their method, path, query and headers', async () => {
    const target = presign({ path: '/b/k' });
    for (const [method, changed] of [
      ['PUT', target],
      ['DELETE', target],
      ['GET', target.replace('/b/k', '/b/j')],
      ['GET', `${target}&versionId=1`],
      ['GET', target.replace('X-Amz-Expires=60', 'X-Amz-Expires=600')],
    ] as const) {
      const response = await send(changed, { method, ...(method === 'PUT' ? { body: 'x' } : {}) });
      expect([method, response.status, textOf(await response.text(), 'Code')]).toEqual([
        method,
        403,
        'SignatureDoesNotMatch',
      ]);
    }
    const unsigned = await send(target, { headers: { 'x-amz-acl': 'public-read' } });
    expect([unsigned.status, textOf(await unsigned.text(), 'Code')]).toEqual([403, 'AccessDenied']);
    expect((await send(presign({ path: '/b/k', expiresS: 604_801 }))).status).toBe(400);
  });

  it('end', async () => {
    s3 = createHarness({ clock: () => Date.now() + 61_000 });
    const response = await send(presign({ path: '/b/k' }));
    expect([response.status, textOf(await response.text(), 'Message')]).toEqual([403, 'Request has expired']);
  });

  it('carry x-amz headers in their query, but no checksum', async () => {
    const path =
      '/b/k?x-amz-checksum-crc32=AAAAAA%3D%3D&x-amz-meta-color=blue&x-amz-sdk-checksum-algorithm=CRC32&x-id=PutObject';
    const response = await send(presign({ method: 'PUT', path }), { method: 'PUT', body: 'hello' });
    expect(response.status).toBe(200);
    const stored = s3.backend.calls.at(-1)?.request as PutObjectRequest;
    expect(stored.metadata.user).toEqual({ color: 'blue' });
    const acl = presign({ method: 'PUT', path: '/b/k?x-amz-acl=nobody' });
    expect((await send(acl, { method: 'PUT', body: 'x' })).status).toBe(400);
    const strange = presign({ method: 'PUT', path: '/b/k?x-amz-meta-%C3%BC=1' });
    expect((await send(strange, { method: 'PUT', body: 'x' })).status).toBe(400);
  });
});
