/**
 * What the shard methods have in their headers. Each header begins with a version (1). Numbers are big-endian.
 *
 * ```
 * key    object hash (32 bytes), index (8)
 * stat   key, size (64), block size (32), epoch (64)                                    53 bytes
 *
 * method        request                                         response
 * shard.put     key, epoch (64), block size (32); body: shard   stat
 * shard.get     key, has range (8), offset (64), length (64)    stat; body: the bytes of the range
 * shard.stat    key                                             found (8), stat if found
 * shard.delete  key, has epoch (8), epoch (64)                  found (8)
 * shard.scan    limit (32), has start (8), start: key           body: stats, one after the other
 * shard.usage   nothing                                         live, used, free bytes, shards (64 each)
 * shard.ping    nothing                                         nothing
 * ```
 */
import { Buffer } from 'node:buffer';
import type {
  ByteRange,
  DeleteOptions,
  PutOptions,
  ShardKey,
  ShardStat,
  StorageUsage,
} from '../wal/shard_storage.ts';
import { TransportError } from './errors.ts';

export const shardMethods = {
  put: 'shard.put',
  get: 'shard.get',
  stat: 'shard.stat',
  delete: 'shard.delete',
  scan: 'shard.scan',
  usage: 'shard.usage',
  ping: 'shard.ping',
} as const;

/** Stats in one answer to a scan. */
export const maxScanLimit = 10_000;
export const statBytes = 53;

const version = 1;
const hashBytes = 32;

/** Reads a header front to back; its version first. @throws TransportError `protocol` when it isn't as it should be. */
class HeaderReader {
  readonly #bytes: Buffer;
  #offset = 0;

  constructor(bytes: Uint8Array, options: { readonly versioned: boolean } = { versioned: true }) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (!options.versioned) return;
    const given = this.u8();
    if (given !== version) {
      throw new TransportError(
        'protocol',
        `a shard header of version ${given}, only ${version} is known here`,
      );
    }
  }

  u8(): number {
    return this.#bytes[this.#take(1)] ?? 0;
  }

  u32(): number {
    return this.#bytes.readUInt32BE(this.#take(4));
  }

  u64(): bigint {
    return this.#bytes.readBigUInt64BE(this.#take(8));
  }

  /** A 64-bit number that counts bytes or things. */
  count(): number {
    const value = Number(this.u64());
    if (!Number.isSafeInteger(value))
      throw new TransportError('protocol', 'a number in a shard header is too large');
    return value;
  }

  key(): ShardKey {
    const start = this.#take(hashBytes);
    // A copy: whoever keeps a key mustn't keep the packet it came in.
    const objectHash = new Uint8Array(this.#bytes.subarray(start, start + hashBytes));
    return { objectHash, index: this.u8() };
  }

  stat(): ShardStat {
    const key = this.key();
    return { ...key, sizeBytes: this.count(), blockSizeBytes: this.u32(), epoch: this.u64() };
  }

  end(): void {
    if (this.#offset !== this.#bytes.length)
      throw new TransportError('protocol', 'a shard header is too long');
  }

  #take(bytes: number): number {
    const start = this.#offset;
    if (start + bytes > this.#bytes.length)
      throw new TransportError('protocol', 'a shard header is too short');
    this.#offset += bytes;
    return start;
  }
}

/** Writes a header front to back; its version first. */
class HeaderWriter {
  readonly #bytes: Buffer;
  #offset = 0;

  constructor(bytes: number, options: { readonly versioned: boolean } = { versioned: true }) {
    this.#bytes = Buffer.allocUnsafe(bytes + (options.versioned ? 1 : 0));
    if (options.versioned) this.u8(version);
  }

  u8(value: number): this {
    this.#offset = this.#bytes.writeUInt8(value, this.#offset);
    return this;
  }

  u32(value: number): this {
    this.#offset = this.#bytes.writeUInt32BE(value, this.#offset);
    return this;
  }

  u64(value: bigint | number): this {
    this.#offset = this.#bytes.writeBigUInt64BE(BigInt(value), this.#offset);
    return this;
  }

  key(key: ShardKey): this {
    if (key.objectHash.length !== hashBytes) {
      throw new TypeError(`objectHash: must have ${hashBytes} bytes, but has ${key.objectHash.length}`);
    }
    this.#bytes.set(key.objectHash, this.#offset);
    this.#offset += hashBytes;
    return this.u8(key.index);
  }

  stat(stat: ShardStat): this {
    return this.key(stat).u64(stat.sizeBytes).u32(stat.blockSizeBytes).u64(stat.epoch);
  }

  done(): Buffer {
    return this.#bytes;
  }
}

export function encodeKey(key: ShardKey): Buffer {
  return new HeaderWriter(hashBytes + 1).key(key).done();
}

export function decodeKey(header: Uint8Array): ShardKey {
  const reader = new HeaderReader(header);
  const key = reader.key();
  reader.end();
  return key;
}

export function encodeDelete(key: ShardKey, options: DeleteOptions): Buffer {
  return new HeaderWriter(hashBytes + 10)
    .key(key)
    .u8(options.epoch === undefined ? 0 : 1)
    .u64(options.epoch ?? 0)
    .done();
}

export function decodeDelete(header: Uint8Array): {
  readonly key: ShardKey;
  readonly options: DeleteOptions;
} {
  const reader = new HeaderReader(header);
  const key = reader.key();
  const hasEpoch = reader.u8() !== 0;
  const epoch = reader.u64();
  reader.end();
  return { key, options: hasEpoch ? { epoch } : {} };
}

export function encodePut(key: ShardKey, options: PutOptions): Buffer {
  return new HeaderWriter(hashBytes + 13).key(key).u64(options.epoch).u32(options.blockSizeBytes).done();
}

export function decodePut(header: Uint8Array): { readonly key: ShardKey; readonly options: PutOptions } {
  const reader = new HeaderReader(header);
  const key = reader.key();
  const options = { epoch: reader.u64(), blockSizeBytes: reader.u32() };
  reader.end();
  return { key, options };
}

export function encodeGet(key: ShardKey, range: ByteRange | undefined): Buffer {
  return new HeaderWriter(hashBytes + 18)
    .key(key)
    .u8(range === undefined ? 0 : 1)
    .u64(range?.offset ?? 0)
    .u64(range?.lengthBytes ?? 0)
    .done();
}

export function decodeGet(header: Uint8Array): {
  readonly key: ShardKey;
  readonly range: ByteRange | undefined;
} {
  const reader = new HeaderReader(header);
  const key = reader.key();
  const hasRange = reader.u8() !== 0;
  const range = { offset: reader.count(), lengthBytes: reader.count() };
  reader.end();
  return { key, range: hasRange ? range : undefined };
}

export function encodeStat(stat: ShardStat): Buffer {
  return new HeaderWriter(statBytes).stat(stat).done();
}

export function decodeStat(header: Uint8Array): ShardStat {
  const reader = new HeaderReader(header);
  const stat = reader.stat();
  reader.end();
  return stat;
}

export function encodeFound(found: boolean, stat?: ShardStat): Buffer {
  const writer = new HeaderWriter(1 + (stat === undefined ? 0 : statBytes)).u8(found ? 1 : 0);
  if (stat !== undefined) writer.stat(stat);
  return writer.done();
}

export function decodeFoundStat(header: Uint8Array): ShardStat | undefined {
  const reader = new HeaderReader(header);
  const stat = reader.u8() === 0 ? undefined : reader.stat();
  reader.end();
  return stat;
}

export function decodeFound(header: Uint8Array): boolean {
  const reader = new HeaderReader(header);
  const found = reader.u8() !== 0;
  reader.end();
  return found;
}

interface ScanRequest {
  readonly startAfter?: ShardKey;
  readonly limit: number;
}

export function encodeScan(scan: ScanRequest): Buffer {
  const start = scan.startAfter;
  const writer = new HeaderWriter(5 + (start === undefined ? 0 : hashBytes + 1))
    .u32(scan.limit)
    .u8(start === undefined ? 0 : 1);
  if (start !== undefined) writer.key(start);
  return writer.done();
}

export function decodeScan(header: Uint8Array): ScanRequest {
  const reader = new HeaderReader(header);
  const limit = reader.u32();
  const scan = reader.u8() === 0 ? { limit } : { limit, startAfter: reader.key() };
  reader.end();
  return scan;
}

/** The body of an answer to a scan. */
export function encodeStats(stats: readonly ShardStat[]): Buffer {
  const writer = new HeaderWriter(stats.length * statBytes, { versioned: false });
  for (const stat of stats) writer.stat(stat);
  return writer.done();
}

export function decodeStats(body: Uint8Array): ShardStat[] {
  const reader = new HeaderReader(body, { versioned: false });
  const stats: ShardStat[] = [];
  for (let left = body.length; left > 0; left -= statBytes) stats.push(reader.stat());
  return stats;
}

export function encodeUsage(usage: StorageUsage): Buffer {
  return new HeaderWriter(32)
    .u64(usage.liveBytes)
    .u64(usage.usedBytes)
    .u64(usage.freeBytes)
    .u64(usage.shards)
    .done();
}

export function decodeUsage(header: Uint8Array): StorageUsage {
  const reader = new HeaderReader(header);
  const usage = {
    liveBytes: reader.count(),
    usedBytes: reader.count(),
    freeBytes: reader.count(),
    shards: reader.count(),
  };
  reader.end();
  return usage;
}
