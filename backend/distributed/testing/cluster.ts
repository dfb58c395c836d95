import { randomBytes } from 'node:crypto';

import { systemClock } from '../../clock.ts';
import type { DataStore, ReadContentOptions, WriteContentOptions, WrittenContent } from '../../data_store.ts';
import { DistributedDataStore } from '../data_store.ts';
import type { DistributedDataStoreOptions } from '../data_store.ts';
import { decodeLocator } from '../locator.ts';
import type { Timing } from '../ports.ts';
import { decodeRepairRow, repairPrefix } from '../repair_rows.ts';
import { MemoryNode } from './memory_node.ts';
import { MemoryState } from './memory_state.ts';

/** Short enough for tests, long enough for a busy machine. */
export const quickTiming: Partial<Timing> = {
  suspectGraceMs: 60,
  stallMs: 400,
  pollMs: 10,
  callMs: 500,
  hedgeMs: 30,
  minHedgeMs: 15,
  maxHedgeMs: 100,
  unavailableMs: 600,
};

/** A data store over nodes in memory. */
export interface TestCluster {
  readonly nodes: MemoryNode[];
  readonly state: MemoryState;
  readonly store: DistributedDataStore;
  readonly warnings: string[];
}

/** Opens one with as many nodes as the code has shards, or as many as are given. */
export async function openCluster(
  rs: { readonly data: number; readonly parity: number },
  options: Partial<DistributedDataStoreOptions> & { readonly count?: number } = {},
): Promise<TestCluster> {
  const nodes = Array.from({ length: options.count ?? rs.data + rs.parity }, (_, id) => new MemoryNode(id));
  const state = new MemoryState();
  const warnings: string[] = [];
  const log = (_: unknown, message: string): void => {
    warnings.push(message);
  };
  const store = await DistributedDataStore.open({
    rs,
    nodes: () => nodes,
    state,
    clock: systemClock,
    logger: { info: log, warn: log, error: log },
    randomBytes,
    holder: 'test',
    timing: quickTiming,
    ...options,
  });
  return { nodes, state, store, warnings };
}

/** The bytes in chunks of about `chunkBytes`. */
export async function* chunks(bytes: Uint8Array, chunkBytes = 65_536): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += chunkBytes) yield bytes.subarray(at, at + chunkBytes);
}

/** Writes under a new id. */
export async function put(
  store: DataStore,
  bytes: Uint8Array,
  options: WriteContentOptions = { sizeBytes: bytes.byteLength },
): Promise<WrittenContent> {
  return store.write(randomBytes(32), chunks(bytes), options);
}

/** Reads a whole range into memory. */
export async function get(
  store: DataStore,
  locator: Uint8Array,
  options?: ReadContentOptions,
): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of await store.read(locator, options)) parts.push(part);
  return Buffer.concat(parts);
}

/** The node that holds shard `index` of the content. */
export function holder(cluster: TestCluster, locator: Uint8Array, index: number): MemoryNode {
  const id = decodeLocator(locator).placement[index];
  const node = cluster.nodes.find((candidate) => candidate.id === id);
  if (node === undefined) throw new Error(`no node holds shard ${index}`);
  return node;
}

/** What the repair rows say is missing, most endangered content first. */
export async function repairs(state: MemoryState): Promise<(readonly number[])[]> {
  const page = await state.scan({ table: 'state', prefix: repairPrefix, limit: 1000 });
  return page.items.map((item) => decodeRepairRow(item.value).missing);
}

/** How many shards lie on all nodes together. */
export function shardCount(cluster: TestCluster): number {
  return cluster.nodes.reduce((sum, node) => sum + node.shards.size, 0);
}
