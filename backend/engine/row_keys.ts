/**
 * Keys of the metadata tables. What a listing scans is built so that the order of the raw key bytes is the order of
 * the listing, and so that no delimiter a client may choose (any UTF-8 text) is found in what isn't part of a key.
 */
export const ARN_PREFIX = 'arn:aws:s3:::';
const DELETED_PREFIX = Buffer.from('deleted:');
const CONTENT_ID_BYTES = 32;
/** Bytes that no UTF-8 text holds; eight of them are the digits of what follows a key. */
const FIRST_DIGIT = 0xf5;
const BITS_PER_DIGIT = 3;
const AFTER_LAST_DIGIT = FIRST_DIGIT + (1 << BITS_PER_DIGIT);
const MAX_TIME_MS = 2 ** 48 - 1;
const UPLOAD_ID_BYTES = 16;

export function bucketKey(bucket: string): Uint8Array {
  return Buffer.from(bucket, 'utf8');
}

/** What the rows of a bucket's longer settings start with: the bucket's id. */
export function settingKey(
  bucketId: Uint8Array,
  setting: { readonly name: string; readonly digest: Uint8Array },
): Uint8Array {
  return Buffer.concat([bucketId, Buffer.from(setting.name, 'utf8'), ZERO, setting.digest]);
}

/** Row of the current version; with an empty key, what all of the bucket's rows start with. */
export function currentKey(bucket: string, key: string): Uint8Array {
  return Buffer.from(`${ARN_PREFIX}${bucket}/${key}`, 'utf8');
}

/** The object key in the row key of a current version. */
export function keyOfCurrent(bucket: string, rowKey: Uint8Array): string {
  return textOf(rowKey.subarray(ARN_PREFIX.length + bucket.length + 1));
}

export function deletedKey(contentId: Uint8Array): Uint8Array {
  return Buffer.concat([DELETED_PREFIX, contentId]);
}

/** What rows of deleted content start with. A content id may start so too, but is shorter than such a row's key. */
export function deletedPrefix(): Uint8Array {
  return DELETED_PREFIX;
}

export function contentIdOfDeleted(rowKey: Uint8Array): Uint8Array | undefined {
  if (rowKey.length !== DELETED_PREFIX.length + CONTENT_ID_BYTES) return undefined;
  return new Uint8Array(rowKey.subarray(DELETED_PREFIX.length));
}

/** What the rows in `versions` and `multipart` of a bucket's keys with `prefix` start with. */
export function orderedPrefix(bucket: string, prefix: string): Uint8Array {
  return Buffer.concat([Buffer.from(bucket, 'utf8'), ZERO, escapeZeros(prefix)]);
}

/** Versions of a key: newest first. */
export function versionKey(
  bucket: string,
  version: { readonly key: string; readonly mtimeMs: number },
): Uint8Array {
  const inverted = Buffer.alloc(6);
  inverted.writeUIntBE(MAX_TIME_MS - version.mtimeMs, 0, 6);
  return Buffer.concat([orderedPrefix(bucket, version.key), SEPARATOR, digitsOf(inverted)]);
}

/** What the rows of all versions of one key start with, and of no other key. */
export function versionsOfKey(bucket: string, key: string): Uint8Array {
  return Buffer.concat([orderedPrefix(bucket, key), SEPARATOR]);
}

/**
 * Row in `versions` of a key whose newest version is a delete marker: it stands for the row of the current version,
 * which listings of objects would have to pass over. Bucket names don't begin with a zero.
 */
export function markerKey(bucket: string, key: string): Uint8Array {
  return Buffer.concat([ZERO, orderedPrefix(bucket, key)]);
}

/** Uploads of a key: oldest first, since upload ids start with the time. */
export function uploadKey(
  bucket: string,
  upload: { readonly key: string; readonly uploadId: Uint8Array },
): Uint8Array {
  return Buffer.concat([orderedPrefix(bucket, upload.key), SEPARATOR, digitsOf(upload.uploadId)]);
}

/** Sorts after all versions (or uploads) of the key, and before the next key. */
export function afterAllOf(bucket: string, key: string): Uint8Array {
  return Buffer.concat([orderedPrefix(bucket, key), SEPARATOR, Buffer.of(AFTER_LAST_DIGIT)]);
}

/** Escaped as in row keys: what to give as a scan's delimiter on `versions` and `multipart`. */
export function escapeZeros(text: string): Uint8Array {
  const bytes = Buffer.from(text, 'utf8');
  if (!bytes.includes(0)) return bytes;
  return Buffer.concat([...bytes].map((byte) => (byte === 0 ? ESCAPED_ZERO : Buffer.of(byte))));
}

/** The key, or common prefix of keys, in a row key (or rolled-up prefix) of `versions` or `multipart`. */
export function keyOfOrdered(bucket: string, rowKey: Uint8Array): string {
  const escaped = rowKey.subarray(bucket.length + 1);
  const bytes: number[] = [];
  for (let i = 0; i < escaped.length; i++) {
    const byte = escaped[i] ?? 0;
    if (byte === 0) {
      if (escaped[i + 1] !== 0xff) break;
      i++;
    }
    bytes.push(byte);
  }
  return textOf(Uint8Array.from(bytes));
}

export function partsPrefix(uploadId: Uint8Array): Uint8Array {
  return uploadId;
}

export function partKey(uploadId: Uint8Array, partNumber: number): Uint8Array {
  const number = Buffer.alloc(2);
  number.writeUInt16BE(partNumber);
  return Buffer.concat([uploadId, number]);
}

export function partNumberOf(rowKey: Uint8Array): number {
  return Buffer.from(rowKey.subarray(UPLOAD_ID_BYTES)).readUInt16BE();
}

/** Rows of `state` that the engine keeps. */
export const STATE_KEYS = {
  rotationLease: (): Uint8Array => Buffer.from('engine:rotation:lease'),
  rotation: (): Uint8Array => Buffer.from('engine:rotation:progress'),
  garbageLease: (): Uint8Array => Buffer.from('engine:garbage:lease'),
  lifecycleLease: (): Uint8Array => Buffer.from('engine:lifecycle:lease'),
  lifecyclePrefix: (): Uint8Array => Buffer.from('engine:lifecycle:bucket:'),
  lifecycle: (bucketId: Uint8Array): Uint8Array =>
    Buffer.concat([Buffer.from('engine:lifecycle:bucket:'), bucketId]),
  cleanupPrefix: (): Uint8Array => Buffer.from('engine:upload-cleanup:'),
  cleanup: (uploadId: Uint8Array): Uint8Array =>
    Buffer.concat([Buffer.from('engine:upload-cleanup:'), uploadId]),
  completedPrefix: (): Uint8Array => Buffer.from('engine:upload-completed:'),
  completed: (uploadId: Uint8Array): Uint8Array =>
    Buffer.concat([Buffer.from('engine:upload-completed:'), uploadId]),
} as const;

/** The upload id at the end of a clean-up or completed row's key. */
export function uploadIdOfState(rowKey: Uint8Array): Uint8Array {
  return new Uint8Array(rowKey.subarray(rowKey.length - UPLOAD_ID_BYTES));
}

const ZERO = Buffer.of(0);
const ESCAPED_ZERO = Buffer.of(0, 0xff);
const SEPARATOR = Buffer.of(0, 0);

/** Three bits a digit, most significant first: order is kept. */
function digitsOf(bytes: Uint8Array): Uint8Array {
  const digits: number[] = [];
  let bits = 0;
  let held = 0;
  for (const byte of bytes) {
    held = (held << 8) | byte;
    bits += 8;
    while (bits >= BITS_PER_DIGIT) {
      bits -= BITS_PER_DIGIT;
      digits.push(FIRST_DIGIT + (held >> bits));
      held &= (1 << bits) - 1;
    }
  }
  if (bits > 0) digits.push(FIRST_DIGIT + (held << (BITS_PER_DIGIT - bits)));
  return Uint8Array.from(digits);
}

/** Undoes `digitsOf` for 16 bytes at the end of a row key. */
export function uploadIdOfKey(rowKey: Uint8Array): Uint8Array {
  const digits = Math.ceil((UPLOAD_ID_BYTES * 8) / BITS_PER_DIGIT);
  const id = new Uint8Array(UPLOAD_ID_BYTES);
  let bits = 0;
  let held = 0;
  let at = 0;
  for (const digit of rowKey.subarray(rowKey.length - digits)) {
    held = (held << BITS_PER_DIGIT) | (digit - FIRST_DIGIT);
    bits += BITS_PER_DIGIT;
    if (bits < 8) continue;
    bits -= 8;
    id[at++] = held >> bits;
    held &= (1 << bits) - 1;
  }
  return id;
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8');
}
