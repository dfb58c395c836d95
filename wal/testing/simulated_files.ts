import { Log } from '../log.ts';
import { ShardStore } from '../shard_store.ts';
import type { ShardKey } from '../shard_storage.ts';
import { MemoryIndex } from './memory_index.ts';
import { DiskCrashedError, type SimulatedDisk } from './simulated_disk.ts';

/** A log on a disk that may crash, with segments so small that a short history has many. */
export function openSimulatedLog(disk: SimulatedDisk): Promise<Log> {
  return Log.open({ directory: '/log', fileSystem: disk, segmentSizeBytes: 8192, reserveBytes: 0 });
}

/** A shard store likewise. `values` is what its index's database holds: on the same machine, and crashing with it. */
export function openSimulatedStore(
  disk: SimulatedDisk,
  values: Map<string, Uint8Array>,
): Promise<ShardStore> {
  return ShardStore.open({
    directory: '/node',
    stamp: { clusterId: 'c', nodeId: 1 },
    fileSystem: disk,
    openIndex: async () => new MemoryIndex(values, (apply) => disk.change('/node/index', apply)),
    flushIntervalMs: 0,
    log: { segmentSizeBytes: 4096, reserveBytes: 0 },
  });
}

/** One of up to 256 shards. */
export function numberedShard(number: number): ShardKey {
  return { objectHash: Buffer.alloc(32, number), index: number };
}

/** The text in pieces of 300 bytes. */
export async function* bodyOf(text: string): AsyncGenerator<Uint8Array> {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += 300) yield bytes.subarray(at, at + 300);
}

/** Whether it comes of the disk's crash, however deep. */
export function isCrash(error: unknown): boolean {
  if (error instanceof DiskCrashedError) return true;
  return error instanceof Error && error.cause !== undefined && isCrash(error.cause);
}
