import { createReadStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Upload } from '@aws-sdk/lib-storage';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { aws } from '../e2e/clients/aws_cli.ts';
import { awsSdk } from '../e2e/clients/aws_sdk.ts';
import { boto3 } from '../e2e/clients/boto3.ts';
import { randomFile, sha256OfFile } from '../e2e/clients/files.ts';
import { sha256OfObject } from '../e2e/clients/objects.ts';
import { rclone } from '../e2e/clients/rclone.ts';
import { startDistributed } from '../e2e/servers.ts';

const sizes = [0, 1, 100_000, 5 << 20, (64 << 20) + 1, 1 << 30];

describe('files from 0 bytes to 1 GB go in by one gateway and come out of another', () => {
  let store: Awaited<ReturnType<typeof startDistributed>>;
  let work: string;
  const digests = new Map<number, string>();
  const file = (sizeBytes: number): string => join(work, `in-${sizeBytes}`);

  beforeAll(async () => {
    store = await startDistributed();
    work = await mkdtemp(join(tmpdir(), 's3d-large-'));
    for (const sizeBytes of sizes) digests.set(sizeBytes, await randomFile(file(sizeBytes), sizeBytes));
    await aws(store.endpoints[0], 's3', 'mb', 's3://large');
  });
  afterAll(async () => {
    await store.stop();
    await rm(work, { recursive: true, force: true });
  });

  const writeTo = (): (typeof store.endpoints)[0] => store.endpoints[0];
  const readFrom = (): (typeof store.endpoints)[0] => store.endpoints[2] ?? store.endpoints[0];
  const out = (): string => join(work, 'out');

  test.each(sizes)('aws-cli, %i bytes', async (sizeBytes) => {
    await aws(writeTo(), 's3', 'cp', '--no-progress', file(sizeBytes), `s3://large/aws/${sizeBytes}`);
    await aws(readFrom(), 's3', 'cp', '--no-progress', `s3://large/aws/${sizeBytes}`, out());
    expect(await sha256OfFile(out())).toBe(digests.get(sizeBytes));
  });

  test.each(sizes)('boto3, %i bytes', async (sizeBytes) => {
    await boto3(writeTo(), `s3.upload_file("${file(sizeBytes)}", "large", "boto3/${sizeBytes}")`);
    await boto3(readFrom(), `s3.download_file("large", "boto3/${sizeBytes}", "${out()}")`);
    expect(await sha256OfFile(out())).toBe(digests.get(sizeBytes));
  });

  test.each(sizes)('rclone, %i bytes', async (sizeBytes) => {
    await rclone(writeTo(), 'copyto', file(sizeBytes), `s3d:large/rclone/${sizeBytes}`);
    await rclone(readFrom(), 'copyto', `s3d:large/rclone/${sizeBytes}`, out(), '--ignore-times');
    expect(await sha256OfFile(out())).toBe(digests.get(sizeBytes));
  });

  test.each(sizes)('the AWS SDK for JavaScript, %i bytes', async (sizeBytes) => {
    const params = { Bucket: 'large', Key: `sdk/${sizeBytes}`, Body: createReadStream(file(sizeBytes)) };
    await new Upload({ client: awsSdk(writeTo()), params }).done();
    expect(await sha256OfObject(awsSdk(readFrom()), { bucket: 'large', key: `sdk/${sizeBytes}` })).toBe(
      digests.get(sizeBytes),
    );
  });
});
