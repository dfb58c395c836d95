import * as path from 'node:path';
import type { ScanItem } from './append_log.ts';
import type { FileSystem } from './file_system.ts';
import type { IndexStorage } from './index_storage.ts';
import { LevelIndex } from './level_index.ts';
import { Log } from './log.ts';
import { NodeFileSystem } from './node_file_system.ts';
import type { DamagedRange } from './recovery.ts';
import { ShardDamagedError, StampMissingError, type Stamp } from './shard_errors.ts';
import {
  decodeBlockNumber,
  decodeClose,
  decodePutId,
  decodeShardKey,
  decodeTombstone,
  encodeEntry,
  RECORD_BLOCK,
  RECORD_CLOSE,
  RECORD_TOMBSTONE,
  SHARD_KEY_BYTES,
} from './shard_format.ts';
import type { ShardIndex } from './shard_index.ts';
import { openIndex } from './shard_replay.ts';
import type { ShardKey } from './shard_storage.ts';
import { ShardStore, type StoreRecovery } from './shard_store.ts';
import { readStamp } from './stamp.ts';

/**
 * Inspection of a node's directory while the node is down. All of it opens the log, which recovers it first: a torn tail
 * is cut and kept aside, as the node's own start would do.
 */
interface InspectOptions {
  readonly directory: string;
  readonly fileSystem?: FileSystem;
  readonly openIndex?: (directory: string) => Promise<IndexStorage>;
}

interface VerifyReport {
  readonly recovery: StoreRecovery;
  readonly segments: number;
  readonly records: number;
  readonly bytes: number;
  readonly shards: number;
  /** Bytes that can't be read as records. */
  readonly damaged: readonly DamagedRange[];
  /** Live shards that can't be read in full, with the reason. */
  readonly damagedShards: readonly { readonly shard: ShardKey; readonly reason: string }[];
  /** Shards of which the index says something else than the segments do. */
  readonly indexDifferences: readonly ShardKey[];
  /** Nothing of the above. */
  readonly sound: boolean;
}

const MAX_FINDINGS = 10_000;

/** Reads everything, checks every shard against its checksum, and the index against one made from the segments. */
export async function verifyStore(options: InspectOptions): Promise<VerifyReport> {
  const open = options.openIndex ?? LevelIndex.open.bind(LevelIndex);
  const store = await openStore(options, open);
  try {
    const { segments, records, bytes, damaged } = await store.scrub();
    const damagedShards: { shard: ShardKey; reason: string }[] = [];
    let shards = 0;
    let startAfter: ShardKey | undefined;
    for (;;) {
      const page = await store.scan({ limit: 1000, ...(startAfter === undefined ? {} : { startAfter }) });
      for (const shard of page) {
        shards += 1;
        try {
          await store.check(shard);
        } catch (error) {
          if (!(error instanceof ShardDamagedError)) throw error;
          if (damagedShards.length < MAX_FINDINGS) damagedShards.push({ shard, reason: error.message });
        }
      }
      startAfter = page.at(-1);
      if (startAfter === undefined) break;
    }
    const indexDifferences = await compareWithLog(
      store,
      await open(path.join(options.directory, 'index.verify')),
    );
    const sound = damaged.length + damagedShards.length + indexDifferences.length === 0;
    const { recovery } = store;
    return { recovery, segments, records, bytes, shards, damaged, damagedShards, indexDifferences, sound };
  } finally {
    await store.close();
  }
}

/** Throws the index away and makes it again from the segments. */
export async function reindexStore(options: InspectOptions): Promise<StoreRecovery> {
  const open = options.openIndex ?? LevelIndex.open.bind(LevelIndex);
  const store = await openStore(options, async (directory) => {
    const storage = await open(directory);
    await storage.clear();
    return storage;
  });
  await store.close();
  return store.recovery;
}

/** One record of the log, or damage, in words. */
export type DumpedItem = {
  readonly kind: 'block' | 'close' | 'tombstone' | 'other' | 'damage';
  readonly segment: number;
  readonly offset: number;
  readonly lengthBytes: number;
  readonly shard?: ShardKey;
  readonly details: Readonly<Record<string, string | number>>;
};

/** What the segments hold, in order, dead or alive. */
export async function* dumpStore(options: InspectOptions): AsyncGenerator<DumpedItem> {
  const { fileSystem } = await whose(options);
  const log = await Log.open({ directory: path.join(options.directory, 'log'), fileSystem });
  try {
    for await (const item of log.scan()) yield describe(item);
  } finally {
    await log.close();
  }
}

async function openStore(
  options: InspectOptions,
  open: (directory: string) => Promise<IndexStorage>,
): Promise<ShardStore> {
  const { directory } = options;
  const { fileSystem, stamp } = await whose(options);
  return ShardStore.open({ directory, stamp, fileSystem, openIndex: open, flushIntervalMs: 0 });
}

/** Only a node's directory is looked into: opening anything else would make it one. */
async function whose(
  options: InspectOptions,
): Promise<{ readonly fileSystem: FileSystem; readonly stamp: Stamp }> {
  const { directory } = options;
  const fileSystem = options.fileSystem ?? new NodeFileSystem();
  const stamp = await readStamp(fileSystem, directory);
  if (stamp === undefined) throw new StampMissingError(directory, await fileSystem.readDirectory(directory));
  return { fileSystem, stamp };
}

/** Fills `scratch` from the log, compares, and empties it again. */
async function compareWithLog(store: ShardStore, scratch: IndexStorage): Promise<ShardKey[]> {
  try {
    await scratch.clear();
    const { index: rebuilt } = await openIndex(scratch, { log: store.log, created: false });
    const expected = rebuilt.entries();
    const found = store.index.entries();
    return await differences(expected, found);
  } finally {
    await scratch.destroy();
  }
}

type Entries = ReturnType<ShardIndex['entries']>;

/** Merges two runs in order of key; lists the keys that only one has, or that differ. */
async function differences(expected: Entries, found: Entries): Promise<ShardKey[]> {
  const different: ShardKey[] = [];
  let [left, right] = [await expected.next(), await found.next()];
  while (different.length < MAX_FINDINGS && (left.done !== true || right.done !== true)) {
    const order =
      left.done === true ? 1 : right.done === true ? -1 : Buffer.compare(left.value[0], right.value[0]);
    if (order < 0 && left.done !== true) {
      different.push(decodeShardKey(left.value[0]));
      left = await expected.next();
    } else if (order > 0 && right.done !== true) {
      different.push(decodeShardKey(right.value[0]));
      right = await found.next();
    } else if (left.done !== true && right.done !== true) {
      if (!encodeEntry(left.value[1]).equals(encodeEntry(right.value[1]))) {
        different.push(decodeShardKey(left.value[0]));
      }
      [left, right] = [await expected.next(), await found.next()];
    }
  }
  return different;
}

function describe(item: ScanItem): DumpedItem {
  if (item.kind === 'damage') {
    const { segment, from, to, reason } = item;
    return { kind: 'damage', segment, offset: from, lengthBytes: to - from, details: { reason } };
  }
  const { position, record } = item;
  const { type, key, payload } = record;
  if (key.length < SHARD_KEY_BYTES) {
    return { kind: 'other', ...position, details: { type, key: Buffer.from(key).toString('hex') } };
  }
  const place = { ...position, shard: decodeShardKey(key) };
  if (type === RECORD_BLOCK) {
    const details = { putId: decodePutId(key), block: decodeBlockNumber(key), sizeBytes: payload.length };
    return { kind: 'block', ...place, details };
  }
  if (type === RECORD_CLOSE) {
    const close = decodeClose(record, position);
    if (close === undefined) return { kind: 'close', ...place, details: { reason: 'of an unknown form' } };
    const { putId, order, revision, epoch, sizeBytes, blockSizeBytes, blocks } = close;
    const details = {
      putId,
      order,
      revision,
      epoch: epoch.toString(),
      sizeBytes,
      blockSizeBytes,
      blocks: blocks.length,
    };
    return { kind: 'close', ...place, details };
  }
  if (type === RECORD_TOMBSTONE) {
    return {
      kind: 'tombstone',
      ...place,
      details: { order: decodeTombstone(payload) ?? 'of an unknown form' },
    };
  }
  return { kind: 'other', ...place, details: { type } };
}
