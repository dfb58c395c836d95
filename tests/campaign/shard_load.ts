import { setTimeout as sleep } from 'node:timers/promises';
import { TransportError } from '../../transport/errors.ts';
import { ShardNotFoundError } from '../../wal/shard_errors.ts';
import type { ShardStorage } from '../../wal/shard_storage.ts';
import { contentOf, keyOf, recognise, type ShardLedger } from './shard_ledger.ts';

/** Counts of what a campaign did and saw. */
export interface LoadCounts {
  puts: number;
  deletes: number;
  gets: number;
  /** Operations that got no answer. */
  unanswered: number;
}

interface LoadOptions {
  readonly ledger: ShardLedger;
  readonly random: () => number;
  readonly counts: LoadCounts;
  /** Shard names are below this. */
  readonly names: number;
  readonly workers: number;
  readonly signal: AbortSignal;
}

const blockSizeBytes = 64 * 1024;
/** A shard node answers at once or not at all. */
const pauseAfterFailureMs = 10;

/**
 * Puts, deletes and reads until the signal, holding every answer against the ledger. A call without an answer may or
 * may not have happened. @throws when an answer is wrong
 */
export async function loadShards(storage: ShardStorage, options: LoadOptions): Promise<void> {
  await Promise.all(Array.from({ length: options.workers }, () => work(storage, options)));
}

async function work(storage: ShardStorage, options: LoadOptions): Promise<void> {
  const { ledger, random, counts, signal } = options;
  while (!signal.aborted) {
    const name = Math.floor(random() * options.names);
    const release = ledger.claim(name);
    if (release === undefined) {
      await sleep(1);
      continue;
    }
    try {
      const chance = random();
      if (chance < 0.5) await put(storage, options, name);
      else if (chance < 0.7) await remove(storage, options, name);
      else await check(storage, options, name);
    } catch (error) {
      if (!(error instanceof TransportError)) throw error;
      counts.unanswered += 1;
      await sleep(pauseAfterFailureMs);
    } finally {
      release();
    }
  }
}

async function put(storage: ShardStorage, options: LoadOptions, name: number): Promise<void> {
  const { ledger, random, counts } = options;
  const state = ledger.begin(name, sizeOf(random));
  if (state === undefined) return;
  async function* body(): AsyncGenerator<Uint8Array> {
    if (state !== undefined) yield* contentOf(state);
  }
  await storage.put(keyOf(name), { epoch: 1n, blockSizeBytes }, body());
  ledger.settle(name, state);
  counts.puts += 1;
}

async function remove(storage: ShardStorage, options: LoadOptions, name: number): Promise<void> {
  const { ledger, counts } = options;
  ledger.begin(name, undefined);
  await storage.delete(keyOf(name));
  ledger.settle(name, undefined);
  counts.deletes += 1;
}

async function check(storage: ShardStorage, options: LoadOptions, name: number): Promise<void> {
  const { ledger, counts } = options;
  recognise(name, { bytes: await readShard(storage, name), possible: ledger.possible(name) });
  counts.gets += 1;
}

/** Mostly small, some of many blocks. */
function sizeOf(random: () => number): number {
  const chance = random();
  if (chance < 0.05) return 0;
  if (chance < 0.7) return Math.floor(random() * 8192);
  return Math.floor(random() * (chance < 0.97 ? 150_000 : 1_500_000));
}

/** All bytes of a shard; undefined when it isn't there. */
export async function readShard(storage: ShardStorage, name: number): Promise<Buffer | undefined> {
  const pieces: Uint8Array[] = [];
  try {
    const { body } = await storage.get(keyOf(name));
    for await (const piece of body) pieces.push(piece);
  } catch (error) {
    if (error instanceof ShardNotFoundError) return undefined;
    throw error;
  }
  return Buffer.concat(pieces);
}
