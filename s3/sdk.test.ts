import { Readable } from 'node:stream';
import {
  CopyObjectCommand,
  CreateBucketCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  NoSuchKey,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { Agent } from 'node:https';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestAuthority } from '../transport/testing/certificates.ts';
import { type S3Server, serveS3 } from './server.ts';
import { alice, createHarness, type Harness, region } from './testing/harness.ts';

let s3: Harness;
let server: S3Server;
let sdk: S3Client;

beforeAll(async () => {
  s3 = createHarness();
  const { cert, key, ca } = new TestAuthority().issue('localhost');
  server = await serveS3({
    app: s3.app,
    host: '127.0.0.1',
    port: 0,
    tls: { cert: String(cert), key: String(key) },
    logger: { info: () => undefined, warn: () => undefined, error: () => undefined },
  });
  sdk = new S3Client({
    endpoint: `https://127.0.0.1:${server.port}`,
    region,
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: alice,
    requestHandler: { httpsAgent: new Agent({ ca: String(ca), servername: 'localhost', keepAlive: true }) },
  });
  await sdk.send(new CreateBucketCommand({ Bucket: 'b' }));
});

afterAll(async () => {
  sdk.destroy();
  await server.close(1000);
});

describe('the AWS SDK for JavaScript over HTTPS', () => {
  it('stores buffers and streams, the latter aws-chunked with a trailing checksum', async () => {
    await sdk.send(new PutObjectCommand({ Bucket: 'b', Key: 'buffer', Body: Buffer.from('hello') }));
    const pieces = Array.from({ length: 50 }, (_, at) => Buffer.alloc(10_000, at));
    await sdk.send(
      new PutObjectCommand({
        Bucket: 'b',
        Key: 'stream',
        Body: Readable.from(pieces),
        ContentLength: 500_000,
        ContentEncoding: 'gzip',
        ChecksumAlgorithm: 'CRC32C',
      }),
    );
    expect(s3.backend.buckets.get('b')?.objects.get('stream')?.bytes.equals(Buffer.concat(pieces))).toBe(
      true,
    );
    const head = await sdk.send(
      new HeadObjectCommand({ Bucket: 'b', Key: 'stream', ChecksumMode: 'ENABLED' }),
    );
    expect(head.ContentEncoding).toBe('gzip');
    expect(head.ChecksumCRC32C).not.toBe(undefined);
    const got = await sdk.send(new GetObjectCommand({ Bucket: 'b', Key: 'buffer' }));
    expect(await got.Body?.transformToString()).toBe('hello');
  });

  it('keeps opaque keys and metadata', async () => {
    const keys = ['/lead', 'a//b', 'a/../b', 'ü€ +&?#%', "it's (a) *star*!~"];
    for (const Key of keys) {
      await sdk.send(
        new PutObjectCommand({ Bucket: 'b', Key: `odd/${Key}`, Body: Key, Metadata: { at: 'x y' } }),
      );
      const got = await sdk.send(new GetObjectCommand({ Bucket: 'b', Key: `odd/${Key}` }));
      expect(await got.Body?.transformToString()).toBe(Key);
      expect(got.Metadata).toEqual({ at: 'x y' });
      const CopySource = encodeURIComponent(`b/odd/${Key}`);
      await sdk.send(new CopyObjectCommand({ Bucket: 'b', Key: 'copied', CopySource }));
    }
    const listed = await sdk.send(new ListObjectsV2Command({ Bucket: 'b', Prefix: 'odd/' }));
    expect(listed.Contents?.map((object) => object.Key).sort()).toEqual(
      keys.map((key) => `odd/${key}`).sort(),
    );
    const Objects = keys.map((key) => ({ Key: `odd/${key}` }));
    const deleted = await sdk.send(new DeleteObjectsCommand({ Bucket: 'b', Delete: { Objects } }));
    expect(deleted.Deleted).toHaveLength(keys.length);
    expect(deleted.Errors).toBe(undefined);
  });

  it('uploads in parts', async () => {
    const body = Buffer.alloc(11 * 1024 ** 2, 'part');
    const upload = new Upload({
      client: sdk,
      params: { Bucket: 'b', Key: 'parts', Body: Readable.from([body]) },
    });
    await upload.done();
    expect(s3.backend.buckets.get('b')?.objects.get('parts')?.bytes.equals(body)).toBe(true);
    const got = await sdk.send(new GetObjectCommand({ Bucket: 'b', Key: 'parts', Range: 'bytes=5-9' }));
    expect(await got.Body?.transformToString()).toBe('artpa');
  });

  it('understands the errors', async () => {
    await expect(sdk.send(new GetObjectCommand({ Bucket: 'b', Key: 'none' }))).rejects.toThrow(NoSuchKey);
    const head = sdk.send(new HeadObjectCommand({ Bucket: 'b', Key: 'none' }));
    await expect(head).rejects.toMatchObject({ name: 'NotFound', $metadata: { httpStatusCode: 404 } });
  });
});
