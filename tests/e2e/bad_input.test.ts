import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { connect } from 'node:tls';
import { CreateBucketCommand, ListMultipartUploadsCommand, ListObjectsV2Command } from '@aws-sdk/client-s3';
import aws4 from 'aws4';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { testKeys, testRegion } from '../cluster/test_config.ts';
import { awsSdk } from './clients/aws_sdk.ts';
import { startDistributed, startFilesystem, type Store } from './servers.ts';

interface Attempt {
  readonly name: string;
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string;
  readonly keys?: typeof testKeys;
  readonly region?: string;
  /** Changes the headers after they were signed. */
  readonly tamper?: (headers: Record<string, string>) => void;
  readonly expect: { readonly status: number; readonly code: string };
}

const unsignedTrailer = {
  'x-amz-content-sha256': 'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
  'x-amz-decoded-content-length': '5',
  'content-encoding': 'aws-chunked',
  'x-amz-trailer': 'x-amz-checksum-crc32',
};

const attempts: readonly Attempt[] = [
  {
    name: 'a wrong secret',
    keys: { ...testKeys, secretAccessKey: 'wrong' },
    expect: { status: 403, code: 'SignatureDoesNotMatch' },
  },
  {
    name: 'an unknown key',
    keys: { ...testKeys, accessKeyId: 'AKIANOBODY' },
    expect: { status: 403, code: 'InvalidAccessKeyId' },
  },
  { name: 'another region', region: 'mars-1', expect: { status: 400, code: 'AuthorizationHeaderMalformed' } },
  {
    name: 'a clock an hour off',
    headers: { 'x-amz-date': hourAgo() },
    expect: { status: 403, code: 'RequestTimeTooSkewed' },
  },
  {
    name: 'a header changed after signing',
    headers: { 'x-amz-meta-a': '1' },
    tamper: (headers) => (headers['x-amz-meta-a'] = '2'),
    expect: { status: 403, code: 'SignatureDoesNotMatch' },
  },
  {
    name: 'a body that is not what was signed',
    tamper: () => undefined,
    headers: { 'x-amz-content-sha256': 'a'.repeat(64) },
    expect: { status: 400, code: 'XAmzContentSHA256Mismatch' },
  },
  {
    name: 'a wrong Content-MD5',
    headers: { 'content-md5': md5('other') },
    expect: { status: 400, code: 'BadDigest' },
  },
  {
    name: 'a Content-MD5 that is none',
    headers: { 'content-md5': 'abc' },
    expect: { status: 400, code: 'InvalidDigest' },
  },
  {
    name: 'a wrong checksum',
    headers: { 'x-amz-checksum-crc32': 'AAAAAA==' },
    expect: { status: 400, code: 'BadDigest' },
  },
  {
    name: 'a wrong trailing checksum',
    headers: unsignedTrailer,
    body: '5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n',
    expect: { status: 400, code: 'BadDigest' },
  },
  {
    name: 'broken chunk framing',
    headers: unsignedTrailer,
    body: 'zz\r\nhello\r\n0\r\n\r\n',
    expect: { status: 403, code: 'InvalidChunkSizeError' },
  },
  {
    name: 'chunks that end early',
    headers: unsignedTrailer,
    body: '5\r\nhel',
    expect: { status: 400, code: 'IncompleteBody' },
  },
  {
    name: 'a key of 1,025 bytes',
    path: `/bad/${'k'.repeat(1025)}`,
    expect: { status: 400, code: 'KeyTooLongError' },
  },
  {
    name: 'a bucket name in capitals',
    path: '/Bad_Name',
    body: '',
    expect: { status: 400, code: 'InvalidBucketName' },
  },
  { name: 'a bucket that is not there', path: '/nowhere/k', expect: { status: 404, code: 'NoSuchBucket' } },
  {
    name: 'malformed XML',
    method: 'POST',
    path: '/bad?delete',
    body: '<Delete><Object>',
    headers: { 'content-md5': md5('<Delete><Object>') },
    expect: { status: 400, code: 'MalformedXML' },
  },
  {
    name: 'a document type',
    method: 'POST',
    path: '/bad?delete',
    body: '<!DOCTYPE d [<!ENTITY a "b">]><Delete/>',
    headers: { 'content-md5': md5('<!DOCTYPE d [<!ENTITY a "b">]><Delete/>') },
    expect: { status: 400, code: 'MalformedXML' },
  },
  {
    name: 'a sub-resource that is not there yet',
    path: '/bad/k?torrent',
    expect: { status: 501, code: 'NotImplemented' },
  },
  {
    name: 'metadata of 3 KB',
    headers: { 'x-amz-meta-long': 'm'.repeat(3000) },
    expect: { status: 400, code: 'MetadataTooLarge' },
  },
];

describe.each([
  { backend: 'filesystem', start: () => startFilesystem() },
  { backend: 'distributed', start: () => startDistributed() },
])('bad input to the $backend backend', ({ start }) => {
  let store: Store;
  beforeAll(async () => {
    store = await start();
    await awsSdk(store.endpoints[0]).send(new CreateBucketCommand({ Bucket: 'bad' }));
  });
  afterAll(async () => {
    await store.stop();
  });

  test.each(attempts)('$name: $expect.code', async (attempt) => {
    const answer = await send(store, attempt);
    expect(answer.body).toContain(`<Code>${attempt.expect.code}</Code>`);
    expect(answer.status).toBe(attempt.expect.status);
  });

  test('headers of 100 KB are refused', async () => {
    const answer = await send(store, {
      name: '',
      headers: { 'x-amz-meta-long': 'm'.repeat(100_000) },
      expect: { status: 0, code: '' },
    });
    expect([400, 431]).toContain(answer.status);
  });

  test('a client that vanishes in the middle of an upload leaves nothing behind', async () => {
    const url = new URL(store.endpoints[0].url);
    const headers = signed(
      {
        name: '',
        headers: { 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD', 'content-length': String(64 << 20) },
        path: '/bad/vanished',
        expect: { status: 0, code: '' },
      },
      url,
    );
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    await new Promise<void>((resolve, reject) => {
      const socket = connect(
        { host: url.hostname, port: Number(url.port), ca: readFileSync(store.endpoints[0].caFile) },
        () => {
          socket.write(`PUT /bad/vanished HTTP/1.1\r\n${lines.join('')}\r\n`);
          socket.write(Buffer.alloc(8 << 20), () => {
            socket.destroy();
            resolve();
          });
        },
      );
      socket.on('error', reject);
    });
  });

  test('after all of it nothing is stored', async () => {
    const s3 = awsSdk(store.endpoints[0]);
    expect((await s3.send(new ListObjectsV2Command({ Bucket: 'bad' }))).Contents ?? []).toEqual([]);
    expect((await s3.send(new ListMultipartUploadsCommand({ Bucket: 'bad' }))).Uploads ?? []).toEqual([]);
  });
});

function signed(attempt: Attempt, url: URL): Record<string, string> {
  const body = attempt.body ?? 'hello';
  const options = {
    host: url.host,
    path: attempt.path ?? '/bad/key',
    method: attempt.method ?? 'PUT',
    service: 's3',
    region: attempt.region ?? testRegion,
    headers: { 'x-amz-content-sha256': createHash('sha256').update(body).digest('hex'), ...attempt.headers },
  };
  const headers = { ...(aws4.sign(options, attempt.keys ?? testKeys).headers as Record<string, string>) };
  attempt.tamper?.(headers);
  return headers;
}

async function send(store: Store, attempt: Attempt): Promise<{ status: number; body: string }> {
  const url = new URL(store.endpoints[0].url);
  const body = attempt.body ?? 'hello';
  const headers = { ...signed(attempt, url), 'content-length': String(Buffer.byteLength(body)) };
  return new Promise((resolve, reject) => {
    const options = {
      host: url.hostname,
      port: url.port,
      path: attempt.path ?? '/bad/key',
      method: attempt.method ?? 'PUT',
      headers,
      ca: readFileSync(store.endpoints[0].caFile),
      agent: false as const,
    };
    const outgoing = request(options, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text }));
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

function hourAgo(): string {
  return new Date(Date.now() - 3_600_000).toISOString().replace(/[-:]|\.\d{3}/g, '');
}

function md5(text: string): string {
  return createHash('md5').update(text).digest('base64');
}
