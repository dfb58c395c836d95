import assert from 'node:assert/strict';
import { LogFullError } from '../../wal/errors.ts';
import { ShardStore } from '../../wal/shard_store.ts';
import type { Random } from '../../wal/testing/simulated_disk.ts';
import { bodyOf, isCrash, numberedShard, openSimulatedStore } from '../../wal/testing/simulated_files.ts';
import { isDiskTrouble, type History, type Subject } from './crashes.ts';

const shards = 10;

interface Ledger {
  /** What may be there: the last acknowledged state, and whatever was begun since; undefined stands for absent. */
  readonly model: Map<number, readonly (string | undefined)[]>;
  /** What the index's database holds: on the same machine, and crashing with it. */
  readonly values: Map<string, Uint8Array>;
  /** Makes texts of different lives differ. */
  lives: number;
}

/** Puts, deletes, compactions and checkpoints, some at once. */
async function work(store: ShardStore, ledger: Ledger, random: Random): Promise<void> {
  ledger.lives += 1;
  for (let step = 0; step < 8; step += 1) {
    const names = Array.from({ length: shards }, (_, name) => name).filter(() => random.chance(0.25));
    const together = names.map((name) => change(store, ledger, { name, step, random }));
    // Beside the puts and deletes, and by itself.
    if (random.chance(0.3)) together.push(compact(store, random));
    if (random.chance(0.3)) together.push(checkpoints(store, random));
    for (const outcome of await Promise.allSettled(together))
      if (outcome.status === 'rejected') throw outcome.reason;
    if (random.chance(0.3)) await store.checkpoint();
    if (random.chance(0.3)) await compact(store, random);
  }
}

/** At moments that have nothing to do with what else goes on. */
async function checkpoints(store: ShardStore, random: Random): Promise<void> {
  for (let count = random.below(8); count > 0; count -= 1) {
    for (let turns = random.below(12); turns > 0; turns -= 1) await Promise.resolve();
    await store.checkpoint();
  }
}

async function change(
  store: ShardStore,
  { model, lives }: Ledger,
  { name, step, random }: { readonly name: number; readonly step: number; readonly random: Random },
): Promise<void> {
  const before = model.get(name) ?? [undefined];
  const text = random.chance(0.3) ? undefined : `${lives}.${step}.${name} `.repeat(1 + random.below(150));
  model.set(name, [...before, text]);
  try {
    if (text === undefined) await store.delete(numberedShard(name));
    else await store.put(numberedShard(name), { epoch: 1n, blockSizeBytes: 700 }, bodyOf(text));
    model.set(name, [text]);
  } catch (error) {
    // Refused for lack of space: nothing of it may ever show.
    if (!(error instanceof LogFullError)) throw error;
    model.set(name, before);
  }
}

/** Any segments, not only those that are worth it: the rules must hold in every order. */
async function compact(store: ShardStore, random: Random): Promise<void> {
  const segments = store.log.segments.map(({ id }) => id).filter(() => random.chance(0.5));
  try {
    for (const { kept } of await store.compact({ minDeadFraction: 0, segments })) assert.equal(kept, false);
  } catch (error) {
    if (!(error instanceof LogFullError)) throw error;
  }
}

async function contents(store: ShardStore): Promise<Map<number, string>> {
  const found = new Map<number, string>();
  for (const stat of await store.scan({ limit: 1000 })) {
    const pieces: Uint8Array[] = [];
    for await (const piece of (await store.get(stat)).body) pieces.push(piece);
    found.set(stat.index, Buffer.concat(pieces).toString());
  }
  return found;
}

/** The index without what tells how often it was written. */
function comparable(values: Ledger['values']): [string, string][] {
  return [...values]
    .filter(([name]) => name.startsWith('e') || name.startsWith('s'))
    .map(([name, value]): [string, string] => [name, Buffer.from(value).toString('hex')])
    .sort(([a], [b]) => (a < b ? -1 : 1));
}

async function compareWithRebuilt(
  { disk, world }: History<Ledger>,
  found: ReadonlyMap<number, string>,
): Promise<void> {
  const rebuilt: Ledger['values'] = new Map();
  const store = await openSimulatedStore(disk, rebuilt);
  assert.ok(store.recovery.replay.rebuilt);
  assert.deepEqual(await contents(store), found, 'a rebuilt index finds something else');
  await store.close();
  assert.deepEqual(comparable(rebuilt), comparable(world.values), 'a rebuilt index differs');
}

export const storeSubject: Subject<Ledger> = {
  name: 'shard store',
  empty: () => ({ model: new Map(), values: new Map(), lives: 0 }),
  copy: ({ model, values, lives }) => ({ model: new Map(model), values: new Map(values), lives }),

  async live({ world, disk }, random) {
    let store: ShardStore | undefined;
    try {
      store = await openSimulatedStore(disk, world.values);
      await work(store, world, random);
    } catch (error) {
      if (!isCrash(error) && !isDiskTrouble(error)) throw error;
    } finally {
      await store?.close().catch((error: unknown) => {
        if (!isCrash(error) && !isDiskTrouble(error)) throw error;
      });
    }
  },

  async check(history, random) {
    const { world, disk } = history;
    // Sometimes the index doesn't make it either.
    if (random.chance(0.05)) world.values.clear();
    const store = await openSimulatedStore(disk, world.values);
    const found = await contents(store);
    assert.deepEqual(store.damaged(), []);
    const usage = await store.usage();
    for (let name = 0; name < shards; name += 1) {
      const possible = world.model.get(name) ?? [undefined];
      const text = found.get(name);
      assert.ok(
        possible.includes(text),
        `shard ${name} is ${said(text)} instead of ${possible.map(said).join(' or ')}`,
      );
      // What was seen once is there from now on.
      world.model.set(name, [text]);
    }
    await store.close();
    await compareWithRebuilt(history, found);
    if (!random.chance(0.2)) return;
    // Once more with every dead byte gone.
    const packed = await openSimulatedStore(disk, world.values);
    await packed.log.roll();
    await packed.compact({ minDeadFraction: 0 });
    assert.deepEqual(await contents(packed), found, 'compaction changed a shard');
    const { shards: count, liveBytes } = await packed.usage();
    assert.deepEqual({ count, liveBytes }, { count: usage.shards, liveBytes: usage.liveBytes });
    await packed.close();
    await compareWithRebuilt(history, found);
  },

  async open({ world, disk }) {
    const store = await openSimulatedStore(disk, world.values);
    await store.close();
  },
};

function said(text: string | undefined): string {
  return text === undefined ? 'absent' : `'${text.slice(0, 12)}' x ${text.length}`;
}
