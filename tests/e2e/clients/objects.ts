import { createHash, randomBytes } from 'node:crypto';
import { GetObjectCommand, PutObjectCommand, type S3Client } from '@aws-sdk/client-s3';

/** Puts random bytes. @returns their SHA-256 once the store has acknowledged them. */
export async function putRandom(
  s3: S3Client,
  target: { bucket: string; key: string; sizeBytes: number },
): Promise<string> {
  const body = randomBytes(target.sizeBytes);
  await s3.send(new PutObjectCommand({ Bucket: target.bucket, Key: target.key, Body: body }));
  return createHash('sha256').update(body).digest('hex');
}

/** Reads an object to its end. `onBytes` sees how much has come so far, and may hold the reader up. */
export async function sha256OfObject(
  s3: S3Client,
  source: { bucket: string; key: string; onBytes?: (bytes: number) => Promise<void> },
): Promise<string> {
  const got = await s3.send(new GetObjectCommand({ Bucket: source.bucket, Key: source.key }));
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of got.Body as AsyncIterable<Uint8Array>) {
    hash.update(chunk);
    bytes += chunk.length;
    await source.onBytes?.(bytes);
  }
  return hash.digest('hex');
}
