import { crc32 } from '@node-rs/crc32';
import type { Position } from './append_log.ts';
import { readUInt64, RECORD_HEADER_BYTES, writeUInt64 } from './format.ts';
import type { ShardKey } from './shard_storage.ts';

/** The records of the shard store and the values of its index; prose in SHARDS.md. */

export const RECORD_BLOCK = 1;
export const RECORD_CLOSE = 2;
export const RECORD_TOMBSTONE = 3;

const VERSION = 1;
const HASH_BYTES = 32;
export const SHARD_KEY_BYTES = HASH_BYTES + 1;
const PUT_KEY_BYTES = SHARD_KEY_BYTES + 8;
const BLOCK_KEY_BYTES = PUT_KEY_BYTES + 4;
const CLOSE_FIXED_BYTES = 48;

/** Where a block's record begins. */
export interface BlockPlace {
  readonly segment: number;
  readonly offset: number;
}

/** What a close says of its shard. `(order, revision)` orders all that was ever said about one shard. */
export interface Close {
  readonly putId: number;
  readonly order: number;
  /** Counts the copies that compaction made. */
  readonly revision: number;
  readonly epoch: bigint;
  readonly sizeBytes: number;
  readonly blockSizeBytes: number;
  /** CRC-32 of the whole shard. */
  readonly checksum: number;
  readonly blocks: readonly BlockPlace[];
}

export interface LiveEntry extends Close {
  readonly kind: 'live';
  readonly position: Position;
  /** Segments that hold closes of this shard that are no longer true. */
  readonly ghosts: readonly number[];
}

interface DeletedEntry {
  readonly kind: 'deleted';
  readonly order: number;
  readonly position: Position;
  readonly ghosts: readonly number[];
}

/** What the index knows of a shard. A deletion is remembered while a segment holds a close that it covers. */
export type Entry = LiveEntry | DeletedEntry;

export function encodeShardKey(shard: ShardKey): Buffer {
  const key = Buffer.allocUnsafe(SHARD_KEY_BYTES);
  key.set(shard.objectHash, 0);
  key[HASH_BYTES] = shard.index;
  return key;
}

export function decodeShardKey(key: Uint8Array): ShardKey {
  return { objectHash: Uint8Array.prototype.slice.call(key, 0, HASH_BYTES), index: key[HASH_BYTES] ?? 0 };
}

export function encodePutKey(shardKey: Uint8Array, putId: number): Buffer {
  const key = Buffer.allocUnsafe(PUT_KEY_BYTES);
  key.set(shardKey, 0);
  writeUInt64(key, putId, SHARD_KEY_BYTES);
  return key;
}

export function decodePutId(key: Uint8Array): number {
  return readUInt64(asBuffer(key), SHARD_KEY_BYTES);
}

export function encodeBlockKey(
  shardKey: Uint8Array,
  block: { readonly putId: number; readonly number: number },
): Buffer {
  const key = Buffer.allocUnsafe(BLOCK_KEY_BYTES);
  key.set(shardKey, 0);
  writeUInt64(key, block.putId, SHARD_KEY_BYTES);
  key.writeUInt32LE(block.number, PUT_KEY_BYTES);
  return key;
}

export function decodeBlockNumber(key: Uint8Array): number {
  return asBuffer(key).readUInt32LE(PUT_KEY_BYTES);
}

function blockCount(shard: { readonly sizeBytes: number; readonly blockSizeBytes: number }): number {
  return Math.ceil(shard.sizeBytes / shard.blockSizeBytes);
}

/** Where block `number` of a shard lies, with the length that its record has. */
export function blockPosition(close: Close, number: number): Position | undefined {
  const place = close.blocks[number];
  if (place === undefined) return undefined;
  const payload = Math.min(close.blockSizeBytes, close.sizeBytes - number * close.blockSizeBytes);
  return { ...place, lengthBytes: RECORD_HEADER_BYTES + BLOCK_KEY_BYTES + payload };
}

/**
 * `lastBefore`: the last block lies right in front of the close in the same append, so that its place is that of the
 * close less its length; `blocks` are the ones before it then.
 */
export function encodeClose(close: Close, lastBefore: boolean): Buffer {
  const runs = encodeBlocks(close.blocks);
  const bytes = Buffer.alloc(CLOSE_FIXED_BYTES + runs.length);
  bytes[0] = VERSION;
  bytes[1] = lastBefore ? 1 : 0;
  writeUInt64(bytes, close.order, 4);
  bytes.writeUInt32LE(close.revision, 12);
  bytes.writeBigUInt64LE(close.epoch, 16);
  writeUInt64(bytes, close.sizeBytes, 24);
  bytes.writeUInt32LE(close.blockSizeBytes, 32);
  bytes.writeUInt32LE(close.checksum, 36);
  bytes.writeUInt32LE(close.blocks.length, 40);
  runs.copy(bytes, CLOSE_FIXED_BYTES);
  return bytes;
}

/** Undefined when it isn't a close of a version that we know, or contradicts itself. */
export function decodeClose(
  record: { readonly key: Uint8Array; readonly payload: Uint8Array },
  position: Position,
): Close | undefined {
  const bytes = asBuffer(record.payload);
  if (record.key.length !== PUT_KEY_BYTES || bytes.length < CLOSE_FIXED_BYTES || bytes[0] !== VERSION)
    return undefined;
  const sizeBytes = readUInt64(bytes, 24);
  const blockSizeBytes = bytes.readUInt32LE(32);
  const blocks = decodeBlocks(bytes.subarray(CLOSE_FIXED_BYTES), bytes.readUInt32LE(40));
  if (blocks === undefined || blockSizeBytes === 0) return undefined;
  if (bytes[1] === 1) {
    const lastBytes = sizeBytes - (blockCount({ sizeBytes, blockSizeBytes }) - 1) * blockSizeBytes;
    const offset = position.offset - RECORD_HEADER_BYTES - BLOCK_KEY_BYTES - lastBytes;
    blocks.push({ segment: position.segment, offset });
  }
  if (blocks.length !== blockCount({ sizeBytes, blockSizeBytes })) return undefined;
  return {
    putId: decodePutId(record.key),
    order: readUInt64(bytes, 4),
    revision: bytes.readUInt32LE(12),
    epoch: bytes.readBigUInt64LE(16),
    sizeBytes,
    blockSizeBytes,
    checksum: bytes.readUInt32LE(36),
    blocks,
  };
}

export function encodeTombstone(order: number): Buffer {
  const bytes = Buffer.alloc(9);
  bytes[0] = VERSION;
  writeUInt64(bytes, order, 1);
  return bytes;
}

export function decodeTombstone(payload: Uint8Array): number | undefined {
  const bytes = asBuffer(payload);
  return bytes.length === 9 && bytes[0] === VERSION ? readUInt64(bytes, 1) : undefined;
}

/** A value of the index: version, body, CRC-32 of key, version and body. */
export function sealValue(key: Uint8Array, body: Uint8Array): Buffer {
  const value = Buffer.allocUnsafe(body.length + 5);
  value[0] = VERSION;
  value.set(body, 1);
  value.writeUInt32LE(crc32(value.subarray(0, -4), crc32(key)), value.length - 4);
  return value;
}

/** The body; undefined when the checksum or version is wrong. */
export function unsealValue(key: Uint8Array, value: Uint8Array): Buffer | undefined {
  const bytes = asBuffer(value);
  if (bytes.length < 5 || bytes[0] !== VERSION) return undefined;
  if (bytes.readUInt32LE(bytes.length - 4) !== crc32(bytes.subarray(0, -4), crc32(key))) return undefined;
  return bytes.subarray(1, -4);
}

export function encodeEntry(entry: Entry): Buffer {
  const head = Buffer.alloc(24 + entry.ghosts.length * 4);
  head[0] = entry.kind === 'live' ? 1 : 2;
  head.writeUInt32LE(entry.position.segment, 4);
  head.writeUInt32LE(entry.position.offset, 8);
  head.writeUInt32LE(entry.position.lengthBytes, 12);
  head.writeUInt32LE(entry.ghosts.length, 16);
  for (const [place, segment] of entry.ghosts.entries()) head.writeUInt32LE(segment, 24 + place * 4);
  if (entry.kind === 'live') {
    const id = Buffer.alloc(8);
    writeUInt64(id, entry.putId, 0);
    return Buffer.concat([head, id, encodeClose(entry, false)]);
  }
  return Buffer.concat([head, encodeTombstone(entry.order)]);
}

export function decodeEntry(bytes: Buffer): Entry | undefined {
  if (bytes.length < 24) return undefined;
  const position = {
    segment: bytes.readUInt32LE(4),
    offset: bytes.readUInt32LE(8),
    lengthBytes: bytes.readUInt32LE(12),
  };
  const ghostCount = bytes.readUInt32LE(16);
  const rest = 24 + ghostCount * 4;
  if (bytes.length < rest) return undefined;
  const ghosts = Array.from({ length: ghostCount }, (_, place) => bytes.readUInt32LE(24 + place * 4));
  if (bytes[0] === 2) {
    const order = decodeTombstone(bytes.subarray(rest));
    return order === undefined ? undefined : { kind: 'deleted', order, position, ghosts };
  }
  const key = Buffer.alloc(PUT_KEY_BYTES);
  bytes.copy(key, SHARD_KEY_BYTES, rest, rest + 8);
  const close = decodeClose({ key, payload: bytes.subarray(rest + 8) }, position);
  return close === undefined ? undefined : { kind: 'live', ...close, position, ghosts };
}

/** Runs of blocks in the same segment: segment, count, offsets; four bytes each. */
function encodeBlocks(blocks: readonly BlockPlace[]): Buffer {
  const numbers: number[] = [];
  let run = -1;
  let segment: number | undefined;
  for (const block of blocks) {
    if (block.segment !== segment) {
      segment = block.segment;
      run = numbers.length + 1;
      numbers.push(segment, 0);
    }
    numbers[run] = (numbers[run] ?? 0) + 1;
    numbers.push(block.offset);
  }
  const bytes = Buffer.allocUnsafe(numbers.length * 4);
  for (const [place, number] of numbers.entries()) bytes.writeUInt32LE(number, place * 4);
  return bytes;
}

function decodeBlocks(bytes: Buffer, count: number): BlockPlace[] | undefined {
  const blocks: BlockPlace[] = [];
  let at = 0;
  while (blocks.length < count) {
    if (at + 8 > bytes.length) return undefined;
    const segment = bytes.readUInt32LE(at);
    const run = bytes.readUInt32LE(at + 4);
    at += 8;
    if (run === 0 || at + run * 4 > bytes.length) return undefined;
    for (let place = 0; place < run; place += 1)
      blocks.push({ segment, offset: bytes.readUInt32LE(at + place * 4) });
    at += run * 4;
  }
  return blocks.length === count && at === bytes.length ? blocks : undefined;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
