import { WalError } from './errors.ts';
import type { ShardKey } from './shard_storage.ts';

/** Who a node's directory belongs to. */
export interface Stamp {
  readonly clusterId: string;
  readonly nodeId: number;
}

/** The directory belongs to another node or another cluster. */
export class StampMismatchError extends WalError {
  readonly found: Stamp;
  readonly expected: Stamp;

  constructor(directory: string, stamps: { readonly found: Stamp; readonly expected: Stamp }) {
    const { found, expected } = stamps;
    super('stamp_mismatch', `${directory} belongs to ${describe(found)}; this is ${describe(expected)}`);
    this.found = found;
    this.expected = expected;
  }
}

/** The directory isn't empty and has no stamp, so it may be anyone's. */
export class StampMissingError extends WalError {
  constructor(directory: string, names: readonly string[]) {
    const some = names.slice(0, 5).join(', ');
    super('stamp_missing', `${directory} has no stamp and isn't empty (${some})`);
  }
}

export class StampDamagedError extends WalError {
  constructor(directory: string) {
    super('stamp_damaged', `the stamp of ${directory} can't be read`);
  }
}

/** An argument of a shard operation breaks a rule. */
export class ShardInvalidError extends WalError {
  constructor(message: string) {
    super('shard_invalid', message);
  }
}

export class ShardNotFoundError extends WalError {
  constructor(shard: ShardKey) {
    super('shard_not_found', `no shard ${nameOf(shard)}`);
  }
}

/** A part of the shard fails its checks. None of that part was given out; the shard counts as erased. */
export class ShardDamagedError extends WalError {
  constructor(shard: ShardKey, reason: string, options?: ErrorOptions) {
    super('shard_damaged', `shard ${nameOf(shard)} is damaged: ${reason}`, options);
  }
}

/** The index contradicts itself. The log has everything: the next open rebuilds the index from it. */
export class IndexDamagedError extends WalError {
  constructor(reason: string, options?: ErrorOptions) {
    super('index_damaged', `the index is damaged: ${reason}`, options);
  }
}

export class StoreClosedError extends WalError {
  constructor() {
    super('store_closed', 'the shard store is closed');
  }
}

function nameOf(shard: ShardKey): string {
  return `${Buffer.from(shard.objectHash).toString('hex')}/${shard.index}`;
}

function describe(stamp: Stamp): string {
  return `node ${stamp.nodeId} of cluster ${JSON.stringify(stamp.clusterId)}`;
}
