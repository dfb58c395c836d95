import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readFile, stat, utimes, writeFile } from 'node:fs/promises';
import { get } from 'node:https';
import { join } from 'node:path';
import {
  CreateBucketCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { otherKeys } from '../cluster/test_config.ts';
import { aws, s3api } from './clients/aws_cli.ts';
import { awsSdk } from './clients/aws_sdk.ts';
import { boto3 } from './clients/boto3.ts';
import type { Endpoint } from './clients/endpoint.ts';
import { randomFile, sha256OfFile } from './clients/files.ts';
import { rclone } from './clients/rclone.ts';
import { backends, closePlace, openPlace, type Place } from './servers.ts';

const MiB = 1 << 20;

/** What a presigned URL gives to a client without credentials. */
async function download(url: string, endpoint: Endpoint): Promise<string> {
  const ca = await readFile(endpoint.caFile);
  return new Promise((resolve, reject) => {
    get(url, { ca }, (response) => {
      let body = '';
      response
        .setEncoding('utf8')
        .on('data', (chunk: string) => (body += chunk))
        .on('end', () => resolve(body));
    }).on('error', reject);
  });
}

describe.each(backends)('real clients against the $backend backend', ({ start }) => {
  let place: Place;
  let work: string;
  let writeTo: Endpoint;
  let readFrom: Endpoint;

  beforeAll(async () => {
    place = await openPlace(start);
    ({ work, writeTo, readFrom } = place);
  });
  afterAll(() => closePlace(place));

  test('aws-cli: files from 0 bytes to 64 MiB go in by one gateway and come out of another', async () => {
    await aws(writeTo, 's3', 'mb', 's3://cli');
    for (const sizeBytes of [0, 1, 4095, 65_537, 5 * MiB, 8 * MiB + 1, 64 * MiB]) {
      const file = join(work, `in-${sizeBytes}`);
      const sha256 = await randomFile(file, sizeBytes);
      await aws(writeTo, 's3', 'cp', '--no-progress', file, `s3://cli/dir/${sizeBytes}.bin`);
      await aws(readFrom, 's3', 'cp', '--no-progress', `s3://cli/dir/${sizeBytes}.bin`, join(work, 'out'));
      expect(await sha256OfFile(join(work, 'out')), `${sizeBytes} bytes`).toBe(sha256);
    }
    const listing = await aws(readFrom, 's3', 'ls', 's3://cli/dir/');
    expect(listing.trim().split('\n')).toHaveLength(7);
  });

  test('aws-cli: sync, mv, presign, rm, rb', async () => {
    const tree = join(work, 'tree');
    await mkdir(join(tree, 'a/b'), { recursive: true });
    // A minute old: listings have whole seconds, and sync compares them with the files' own times.
    const old = new Date(Date.now() - 60_000);
    for (let i = 0; i < 20; i++) {
      const file = join(tree, i % 2 === 0 ? `a/${i}.txt` : `a/b/${i} ü+&.txt`);
      await writeFile(file, `content ${i}`);
      await utimes(file, old, old);
    }
    await aws(writeTo, 's3', 'mb', 's3://sync');
    await aws(writeTo, 's3', 'sync', '--no-progress', tree, 's3://sync/t');
    expect((await aws(readFrom, 's3', 'sync', '--no-progress', tree, 's3://sync/t')).trim()).toBe('');
    await aws(readFrom, 's3', 'sync', '--no-progress', 's3://sync/t', join(work, 'back'));
    expect(await readFile(join(work, 'back/a/b/3 ü+&.txt'), 'utf8')).toBe('content 3');
    await aws(writeTo, 's3', 'mv', '--no-progress', 's3://sync/t/a/0.txt', 's3://sync/moved.txt');
    const url = (await aws(readFrom, 's3', 'presign', 's3://sync/moved.txt')).trim();
    expect(await download(url, writeTo)).toBe('content 0');
    await aws(writeTo, 's3', 'rm', '--recursive', 's3://sync/');
    await aws(writeTo, 's3', 'rb', 's3://sync');
    await expect(aws(readFrom, 's3', 'ls', 's3://sync')).rejects.toThrow('NoSuchBucket');
  });

  test('aws-cli: s3api metadata, ranges, conditions, paging', async () => {
    await s3api(
      writeTo,
      'create-bucket',
      '--bucket',
      'api',
      '--create-bucket-configuration',
      'LocationConstraint=eu-central-1',
    );
    const body = join(work, 'body');
    await writeFile(body, '0123456789');
    await s3api(
      writeTo,
      'put-object',
      '--bucket',
      'api',
      '--key',
      'k',
      '--body',
      body,
      '--metadata',
      'colour=green',
      '--content-type',
      'text/x-k',
    );
    const head = await s3api(readFrom, 'head-object', '--bucket', 'api', '--key', 'k');
    expect(head).toMatchObject({ ContentLength: 10, ContentType: 'text/x-k', Metadata: { colour: 'green' } });
    await s3api(
      readFrom,
      'get-object',
      '--bucket',
      'api',
      '--key',
      'k',
      '--range',
      'bytes=-3',
      join(work, 'range'),
    );
    expect(await readFile(join(work, 'range'), 'utf8')).toBe('789');
    await expect(
      s3api(writeTo, 'put-object', '--bucket', 'api', '--key', 'k', '--body', body, '--if-none-match', '*'),
    ).rejects.toThrow('PreconditionFailed');
    for (let i = 0; i < 5; i++)
      await s3api(writeTo, 'put-object', '--bucket', 'api', '--key', `page/${i}`, '--body', body);
    const page = await s3api(
      readFrom,
      'list-objects-v2',
      '--bucket',
      'api',
      '--prefix',
      'page/',
      '--page-size',
      '2',
    );
    expect((page['Contents'] as unknown[]).length).toBe(5);
    expect(await s3api(readFrom, 'get-bucket-location', '--bucket', 'api')).toMatchObject({
      LocationConstraint: 'eu-central-1',
    });
  });

  test('boto3 with default settings: objects, metadata, multipart, delete, errors', async () => {
    const printed = await boto3(
      writeTo,
      `
s3.create_bucket(Bucket="boto", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
data = os.urandom(300_000)
put = s3.put_object(Bucket="boto", Key="a b/ü+&=.bin", Body=data, Metadata={"m": "v"})
got = s3.get_object(Bucket="boto", Key="a b/ü+&=.bin")
assert got["Body"].read() == data and got["Metadata"] == {"m": "v"}
assert put["ETag"] == '"' + hashlib.md5(data).hexdigest() + '"', put["ETag"]
big = os.urandom(20 * 1024 * 1024)
s3.upload_fileobj(io.BytesIO(big), "boto", "big")
out = io.BytesIO(); s3.download_fileobj("boto", "big", out)
assert out.getvalue() == big
assert s3.head_object(Bucket="boto", Key="big")["ETag"].endswith('-3"')
s3.copy({"Bucket": "boto", "Key": "big"}, "boto", "copy")
out = io.BytesIO(); s3.download_fileobj("boto", "copy", out)
assert out.getvalue() == big
keys = [o["Key"] for p in s3.get_paginator("list_objects_v2").paginate(Bucket="boto", PaginationConfig={"PageSize": 1}) for o in p["Contents"]]
assert keys == sorted(keys) and len(keys) == 3, keys
versions = s3.list_object_versions(Bucket="boto")["Versions"]
assert {v["VersionId"] for v in versions} == {"null"}
try: s3.get_object(Bucket="boto", Key="none"); raise SystemExit("found")
except ClientError as e: assert e.response["Error"]["Code"] == "NoSuchKey"
try: s3.delete_bucket(Bucket="boto"); raise SystemExit("deleted")
except ClientError as e: assert e.response["Error"]["Code"] == "BucketNotEmpty"
for algorithm in ["CRC32", "SHA1", "SHA256"]:
    put = s3.put_object(Bucket="boto", Key="sum", Body=data, ChecksumAlgorithm=algorithm)
    head = s3.head_object(Bucket="boto", Key="sum", ChecksumMode="ENABLED")
    assert head["Checksum" + algorithm] == put["Checksum" + algorithm]
    s3.delete_object(Bucket="boto", Key="sum")
gone = s3.delete_objects(Bucket="boto", Delete={"Objects": [{"Key": k} for k in keys + ["never"]]})
assert len(gone["Deleted"]) == 4 and "Errors" not in gone
s3.delete_bucket(Bucket="boto")
print("all right")
`,
    );
    expect(printed.trim()).toBe('all right');
  });

  test('the AWS SDK for JavaScript: put, multipart upload, ranges, list', async () => {
    const s3 = awsSdk(writeTo);
    await s3.send(new CreateBucketCommand({ Bucket: 'sdk' }));
    const small = Buffer.from('hello from the SDK');
    await s3.send(new PutObjectCommand({ Bucket: 'sdk', Key: 'small', Body: small, Metadata: { a: 'b' } }));
    const got = await awsSdk(readFrom).send(new GetObjectCommand({ Bucket: 'sdk', Key: 'small' }));
    expect(Buffer.from((await got.Body?.transformToByteArray()) ?? [])).toEqual(small);
    const file = join(work, 'sdk-big');
    const sha256 = await randomFile(file, 17 * MiB);
    await new Upload({
      client: s3,
      params: { Bucket: 'sdk', Key: 'big', Body: createReadStream(file) },
    }).done();
    expect((await s3.send(new HeadObjectCommand({ Bucket: 'sdk', Key: 'big' }))).ContentLength).toBe(
      (await stat(file)).size,
    );
    const big = await awsSdk(readFrom).send(new GetObjectCommand({ Bucket: 'sdk', Key: 'big' }));
    const bytes = (await big.Body?.transformToByteArray()) ?? new Uint8Array();
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(sha256);
    const list = await s3.send(new ListObjectsV2Command({ Bucket: 'sdk' }));
    expect(list.Contents?.map((object) => object.Key)).toEqual(['big', 'small']);
  });

  test('rclone: copy, check, listing', async () => {
    const tree = join(work, 'rclone');
    await mkdir(join(tree, 'sub'), { recursive: true });
    await randomFile(join(tree, 'one.bin'), 3 * MiB);
    await randomFile(join(tree, 'sub/two.bin'), 12 * MiB);
    await writeFile(join(tree, 'sub/empty'), '');
    await rclone(writeTo, 'mkdir', 's3d:rclone');
    await rclone(writeTo, 'copy', tree, 's3d:rclone/x');
    await rclone(readFrom, 'check', tree, 's3d:rclone/x', '--download');
    expect((await rclone(readFrom, 'lsf', '-R', 's3d:rclone/x')).trim().split('\n').sort()).toEqual([
      'one.bin',
      'sub/',
      'sub/empty',
      'sub/two.bin',
    ]);
    await rclone(writeTo, 'purge', 's3d:rclone');
  });

  test('another account sees nothing of it', async () => {
    const other = { ...readFrom, keys: otherKeys };
    expect((await aws(other, 's3', 'ls')).trim()).toBe('');
    await expect(aws(other, 's3', 'ls', 's3://cli')).rejects.toThrow('AccessDenied');
    await expect(aws(other, 's3', 'cp', 's3://cli/dir/1.bin', join(work, 'stolen'))).rejects.toThrow('403');
    await expect(aws(other, 's3', 'rm', 's3://cli/dir/1.bin')).rejects.toThrow('AccessDenied');
  });
});
