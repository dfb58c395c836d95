import { decodeRecord, encodeRecord } from '../engine/record.ts';

const VERSION = 1;
const PREFIX = Buffer.from('usage:');
const BUCKET_ID_BYTES = 16;
const TOTAL = Buffer.of(0);
const DELTA = Buffer.of(1);
const GATE = Buffer.of(2);

export const USAGE_LEASE_KEY: Uint8Array = Buffer.from('engine:usage:lease');

/** What a bucket holds, or what a change adds to it. All versions count, delete markers don't. */
export interface Usage {
  readonly bucket: string;
  readonly bytes: number;
  readonly versions: number;
}

/** What the rows in `state` of a bucket's usage start with; of all buckets without an id. */
export function usagePrefix(bucketId: Uint8Array = new Uint8Array()): Uint8Array {
  return Buffer.concat([PREFIX, bucketId]);
}

export function totalKey(bucketId: Uint8Array): Uint8Array {
  return Buffer.concat([PREFIX, bucketId, TOTAL]);
}

export function deltaKey(bucketId: Uint8Array, unique: Uint8Array): Uint8Array {
  return Buffer.concat([PREFIX, bucketId, DELTA, unique]);
}

/** Changed by whoever adds to a bucket that is nearly full, so that no two do at once. */
export function gateKey(bucketId: Uint8Array): Uint8Array {
  return Buffer.concat([PREFIX, bucketId, GATE]);
}

export function bucketIdOfUsage(key: Uint8Array): Uint8Array {
  return new Uint8Array(key.subarray(PREFIX.length, PREFIX.length + BUCKET_ID_BYTES));
}

export function kindOfUsage(key: Uint8Array): 'total' | 'delta' | 'gate' {
  const kind = key[PREFIX.length + BUCKET_ID_BYTES];
  if (kind === TOTAL[0]) return 'total';
  return kind === DELTA[0] ? 'delta' : 'gate';
}

export function encodeUsage(usage: Usage): Uint8Array {
  return encodeRecord(VERSION, { n: usage.bucket, b: usage.bytes, v: usage.versions });
}

export function decodeUsage(bytes: Uint8Array): Usage {
  const fields = decodeRecord(bytes, { kind: 'usage', newest: VERSION });
  return { bucket: fields.text('n'), bytes: fields.integer('b'), versions: fields.integer('v') };
}

export function sumOf(one: Usage, other: Usage): Usage {
  return { bucket: one.bucket, bytes: one.bytes + other.bytes, versions: one.versions + other.versions };
}
