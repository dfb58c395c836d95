import { createHmac, hash, timingSafeEqual } from 'node:crypto';
import type { Credential } from './credentials.ts';

/** The one algorithm accepted. */
export const algorithm = 'AWS4-HMAC-SHA256';

/** SHA-256 of nothing, in hex. */
export const emptySha256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

/** What a signing key is derived for. */
export interface SigningScope {
  /** `yyyymmdd` */
  readonly date: string;
  readonly region: string;
  readonly service: string;
}

/** `date/region/service/aws4_request` */
export function scopeText(scope: SigningScope): string {
  return `${scope.date}/${scope.region}/${scope.service}/aws4_request`;
}

function hmac(key: Uint8Array | string, text: string): Buffer {
  return createHmac('sha256', key).update(text, 'utf8').digest();
}

/** Derives the key that signs everything within a scope. */
export function deriveSigningKey(secretAccessKey: string, scope: SigningScope): Buffer {
  const dateKey = hmac(`AWS4${secretAccessKey}`, scope.date);
  const regionKey = hmac(dateKey, scope.region);
  const serviceKey = hmac(regionKey, scope.service);
  return hmac(serviceKey, 'aws4_request');
}

/** Presigned URLs live for seven days, so a credential needs at most nine dates at a time in one region. */
const maxKeysPerCredential = 16;

/**
 * Signing keys derived so far. They hang on the credential object itself: a credential that is replaced or
 * removed takes its keys along, and a changed secret can never meet an old key.
 */
const derivedKeys = new WeakMap<Credential, Map<string, Buffer>>();

/** The signing key of a credential, derived once for each scope. At most 16 are kept for a credential. */
export function signingKeyFor(credential: Credential, scope: SigningScope): Buffer {
  let keys = derivedKeys.get(credential);
  if (keys === undefined) {
    keys = new Map();
    derivedKeys.set(credential, keys);
  }
  const name = scopeText(scope);
  const known = keys.get(name);
  if (known !== undefined) return known;
  const key = deriveSigningKey(credential.secretAccessKey, scope);
  if (keys.size >= maxKeysPerCredential) {
    const oldest = keys.keys().next();
    if (!oldest.done) keys.delete(oldest.value);
  }
  keys.set(name, key);
  return key;
}

/** SHA-256 in hex. */
export function sha256Hex(data: string | Uint8Array): string {
  return hash('sha256', data, 'hex');
}

/** The signature of a string, in lower-case hex. */
export function signHex(signingKey: Uint8Array, text: string): string {
  return createHmac('sha256', signingKey).update(text, 'utf8').digest('hex');
}

/** Whether two texts are equal, in a time that depends on their lengths only. */
export function equalInConstantTime(a: string, b: string): boolean {
  const left = Buffer.from(a, 'utf8');
  const right = Buffer.from(b, 'utf8');
  return left.length === right.length && timingSafeEqual(left, right);
}
