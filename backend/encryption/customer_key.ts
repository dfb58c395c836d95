import { createHmac, timingSafeEqual } from 'node:crypto';
import { keyBytes } from './wrapping.ts';

const saltBytes = 16;
const checkBytes = 16;

/**
 * What is kept of a key that a client brings with each request (SSE-C): enough to tell it from another, and nothing
 * that helps to find it.
 * @param salt 16 random bytes, so that the same key looks different on each object.
 */
export function checkOfCustomerKey(key: Uint8Array, salt: Uint8Array): Uint8Array {
  if (key.length !== keyBytes || salt.length !== saltBytes)
    throw new RangeError('a key of 32 and a salt of 16 bytes');
  return new Uint8Array(Buffer.concat([salt, digest(key, salt)]));
}

export function isCustomerKey(key: Uint8Array, check: Uint8Array): boolean {
  if (key.length !== keyBytes || check.length !== saltBytes + checkBytes) return false;
  return timingSafeEqual(digest(key, check.subarray(0, saltBytes)), check.subarray(saltBytes));
}

function digest(key: Uint8Array, salt: Uint8Array): Buffer {
  return createHmac('sha256', key)
    .update('s3d customer key v1\0')
    .update(salt)
    .digest()
    .subarray(0, checkBytes);
}
