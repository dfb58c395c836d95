import { createHash } from 'node:crypto';
import { expect } from 'vitest';
import type {
  Backend,
  BucketInfo,
  CompleteUploadRequest,
  IncomingBody,
  ObjectMetadata,
  ObjectRead,
  ObjectWritten,
  Owner,
  PutObjectRequest,
} from '../../backend/backend.ts';
import { BackendError, type BackendErrorCode } from '../../backend/errors.ts';

/** Short forms of requests for the contract suites. */
export const alice: Owner = { id: '111111111111', displayName: 'alice' };
export const bob: Owner = { id: '222222222222', displayName: 'bob' };
export const region = 'eu-test-1';
const plain: ObjectMetadata = { system: {}, user: {} };

export function anyone(_bucket: BucketInfo): void {
  // Lets everybody in.
}

let buckets = 0;

/** Backends whose buckets aren't made over the API, with what gives an unused one. */
const bucketSources = new WeakMap<Backend, () => string>();

export function takeBucketsFrom(backend: Backend, source: () => string): void {
  bucketSources.set(backend, source);
}

/** A bucket of its own for a test. */
export async function newBucket(backend: Backend, owner = alice): Promise<string> {
  const source = bucketSources.get(backend);
  if (source !== undefined) return source();
  const bucket = `contract-${process.pid}-${++buckets}`;
  await backend.createBucket({ bucket, owner, region });
  return bucket;
}

export function bodyOf(content: Uint8Array | string, pieceBytes = 64 * 1024): IncomingBody {
  const bytes = typeof content === 'string' ? Buffer.from(content) : content;
  return { stream: pieces(bytes, pieceBytes), sizeBytes: bytes.length };
}

async function* pieces(bytes: Uint8Array, pieceBytes: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
}

export async function put(
  backend: Backend,
  where: { readonly bucket: string; readonly key: string },
  content: Uint8Array | string,
  more: Partial<PutObjectRequest> = {},
): Promise<ObjectWritten> {
  return backend.putObject({
    ...where,
    owner: alice,
    authorize: anyone,
    metadata: plain,
    body: bodyOf(content),
    ...more,
  });
}

export async function bytesOf(read: ObjectRead): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const piece of read.body) all.push(Buffer.from(piece));
  return Buffer.concat(all);
}

export async function get(
  backend: Backend,
  where: { readonly bucket: string; readonly key: string },
): Promise<Buffer> {
  return bytesOf(await backend.getObject({ ...where, authorize: anyone }));
}

export async function keysOf(backend: Backend, bucket: string, prefix = ''): Promise<string[]> {
  const keys: string[] = [];
  let startAfter: string | undefined;
  do {
    const page = await backend.listObjects({
      bucket,
      prefix,
      maxKeys: 1000,
      authorize: anyone,
      ...(startAfter === undefined ? {} : { startAfter }),
    });
    keys.push(...page.objects.map(({ key }) => key));
    startAfter = page.next;
  } while (startAfter !== undefined);
  return keys;
}

export async function startUpload(
  backend: Backend,
  where: { readonly bucket: string; readonly key: string },
  more: Pick<Parameters<Backend['createMultipartUpload']>[0], 'checksum' | 'tags' | 'lock'> = {},
): Promise<{ bucket: string; key: string; uploadId: string; authorize: typeof anyone }> {
  const { uploadId } = await backend.createMultipartUpload({
    ...where,
    owner: alice,
    metadata: plain,
    authorize: anyone,
    ...more,
  });
  return { ...where, uploadId, authorize: anyone };
}

/** Uploads the contents as parts 1, 2, ... and gives what Complete must name. */
export async function uploadParts(
  backend: Backend,
  upload: { bucket: string; key: string; uploadId: string; authorize: typeof anyone },
  contents: readonly (Uint8Array | string)[],
): Promise<CompleteUploadRequest['parts']> {
  const parts: { partNumber: number; etag: string }[] = [];
  for (const [i, content] of contents.entries()) {
    const { etag } = await backend.uploadPart({ ...upload, partNumber: i + 1, body: bodyOf(content) });
    parts.push({ partNumber: i + 1, etag });
  }
  return parts;
}

export async function refusal(work: Promise<unknown>, code: BackendErrorCode): Promise<BackendError> {
  const outcome = await work.then(
    () => 'no error',
    (error: unknown) => error,
  );
  if (!(outcome instanceof BackendError)) expect(outcome).toEqual(`BackendError ${code}`);
  const error = outcome as BackendError;
  expect(error.code).toBe(code);
  return error;
}

export function md5(content: Uint8Array | string): string {
  return createHash('md5').update(content).digest('hex');
}

/** Bytes that differ everywhere, made of a seed. */
export function patternOf(length: number, seed = 1): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  let x = (seed * 2654435761) >>> 0 || 1;
  for (let i = 0; i + 4 <= length; i += 4) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    bytes.writeInt32LE(x | 0, i);
  }
  for (let i = length - (length % 4); i < length; i++) bytes[i] = (i * 31 + seed) & 255;
  return bytes;
}
