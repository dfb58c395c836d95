import { decode, encode } from 'cborg';

import type { Condition, Operation } from '../../s3db/database.ts';

const version = 1;
const contentIdBytes = 32;

/** Under this prefix of table `state` lie the rows of shards that were moved elsewhere. FORMAT.md gives key and value. */
export const retiredPrefix: Uint8Array = Buffer.from('retired/');

/** A place that held a shard until the shard was moved to another node; freed some time later, for reads under way. */
export interface RetiredShard {
  readonly contentId: Uint8Array;
  readonly index: number;
  readonly node: number;
}

/** What the row of a retired shard says. */
interface RetiredRow {
  readonly retiredMs: number;
  /** What the shard was written under; undefined when its node did not answer. */
  readonly epoch: bigint | undefined;
}

function retiredKey(shard: RetiredShard): Uint8Array {
  const tail = Buffer.alloc(5);
  tail.writeUInt8(shard.index);
  tail.writeUInt32BE(shard.node, 1);
  return Buffer.concat([retiredPrefix, shard.contentId, tail]);
}

/** What the keys of one content's retired shards begin with. */
export function retiredPrefixOf(contentId: Uint8Array): Uint8Array {
  return Buffer.concat([retiredPrefix, contentId]);
}

/** Goes into the batch that changes the placement. */
export function retireOperation(shard: RetiredShard, row: RetiredRow): Operation {
  const epoch = Buffer.alloc(8);
  epoch.writeBigUInt64BE(row.epoch ?? 0n);
  const value = encode([version, row.retiredMs, row.epoch === undefined ? null : epoch]);
  return { type: 'put', table: 'state', key: retiredKey(shard), value };
}

/**
 * Holds where no earlier shard waits to be freed. Part of every batch that places a shard somewhere: so what is freed
 * is never what a placement names.
 */
export function notRetired(shard: RetiredShard): Condition {
  return { table: 'state', key: retiredKey(shard), exists: false };
}

/** @throws Error when the key is none of a retired shard */
export function decodeRetiredKey(key: Uint8Array): RetiredShard {
  const rest = Buffer.from(key.subarray(retiredPrefix.length));
  if (rest.length !== contentIdBytes + 5) throw new Error('the key of a retired shard is damaged');
  return {
    contentId: new Uint8Array(rest.subarray(0, contentIdBytes)),
    index: rest.readUInt8(contentIdBytes),
    node: rest.readUInt32BE(contentIdBytes + 1),
  };
}

/** @throws Error when the bytes are no such row that this version can read */
export function decodeRetiredRow(value: Uint8Array): RetiredRow {
  const fields: unknown = decode(value);
  if (!Array.isArray(fields) || fields[0] !== version) {
    throw new Error('the row of a retired shard is of an unknown version');
  }
  const [, retiredMs, epoch] = fields as readonly unknown[];
  if (typeof retiredMs !== 'number') throw new Error('the row of a retired shard is damaged');
  return {
    retiredMs,
    epoch: epoch instanceof Uint8Array ? Buffer.from(epoch).readBigUInt64BE() : undefined,
  };
}
