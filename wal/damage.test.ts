import { cp, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { verifyStore } from './inspect.ts';
import type { ShardKey } from './shard_storage.ts';
import { ShardStore } from './shard_store.ts';
import { Random } from './testing/simulated_disk.ts';

/** Raise it for a longer look. */
const RUNS = Number(process.env['WAL_DAMAGE_RUNS'] ?? 60);
const STAMP = { clusterId: 'c1', nodeId: 3 };
const SHARDS = 80;

let root: string;
let whole: string;
const contents = new Map<number, Buffer>();

function key(name: number): ShardKey {
  return { objectHash: Buffer.alloc(32, name), index: name };
}

function open(directory: string): Promise<ShardStore> {
  return ShardStore.open({
    directory,
    stamp: STAMP,
    log: { segmentSizeBytes: 64 * 1024, reserveBytes: 0 },
    flushIntervalMs: 0,
  });
}

async function* chunks(bytes: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 1000) yield bytes.subarray(at, at + 1000);
}

const options = { epoch: 1n, blockSizeBytes: 2048 };

beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), 's3d-damage-'));
  whole = path.join(root, 'whole');
  const random = new Random(1);
  // Each life leaves a table of the index; the last one a log.
  for (let life = 0; life < 4; life += 1) {
    const store = await open(whole);
    for (let count = 0; count < SHARDS; count += 1) {
      const name = random.below(SHARDS);
      if (random.chance(0.2)) {
        await store.delete(key(name));
        contents.delete(name);
      } else {
        // An object's hash is unique to its version: whoever writes a shard again writes the same.
        const bytes = new Random(name).bytes((name * 997) % 20_000);
        await store.put(key(name), options, chunks(bytes));
        contents.set(name, bytes);
      }
      if (random.chance(0.1)) await store.checkpoint();
    }
    await store.compact({ minDeadFraction: 0.4 });
    await store.close();
  }
});

afterAll(async () => {
  await rm(root, { recursive: true });
});

type Kind = 'segment' | 'index' | 'other';

async function filesOf(directory: string): Promise<{ readonly name: string; readonly kind: Kind }[]> {
  const files: { name: string; kind: Kind }[] = [];
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const name = path.relative(directory, path.join(entry.parentPath, entry.name));
    const kind = name.endsWith('.seg') ? 'segment' : name.startsWith('index') ? 'index' : 'other';
    files.push({ name, kind });
  }
  return files.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Flips a bit, overwrites a stretch, or cuts the file. @returns what it did; undefined when nothing changed */
async function damage(file: string, random: Random): Promise<string | undefined> {
  const bytes = await readFile(file);
  if (bytes.length === 0) return undefined;
  const at = random.below(bytes.length);
  const chance = random.next();
  if (chance < 0.2) {
    await truncate(file, at);
    return `${file} cut at ${at} of ${bytes.length}`;
  }
  const damaged = Buffer.from(bytes);
  if (chance < 0.7) damaged.writeUInt8(damaged.readUInt8(at) ^ (1 << random.below(8)), at);
  else if (chance < 0.85) damaged.fill(0, at, Math.min(bytes.length, at + 1 + random.below(4096)));
  else random.bytes(1 + random.below(4096)).copy(damaged, at);
  await writeFile(file, damaged);
  return damaged.equals(bytes) ? undefined : `${file} changed at ${at} of ${bytes.length}`;
}

async function read(store: ShardStore, name: number): Promise<Buffer | string> {
  const pieces: Uint8Array[] = [];
  try {
    for await (const piece of (await store.get(key(name))).body) pieces.push(piece);
  } catch (error) {
    return String((error as { code?: unknown }).code);
  }
  return Buffer.concat(pieces);
}

/** Everything that can still be known is right; @returns how many shards couldn't be read. */
async function compare(store: ShardStore, harmed: ReadonlySet<Kind>): Promise<number> {
  let lost = 0;
  for (let name = 0; name < SHARDS; name += 1) {
    const expected = contents.get(name);
    const found = await read(store, name);
    if (typeof found !== 'string') {
      if (expected !== undefined) expect(found.equals(expected), `shard ${name}`).toBe(true);
      // A tombstone that nobody can read says nothing to an index that is made again: see SHARDS.md.
      else expect([...harmed].sort().join(), `shard ${name} is back`).toContain('segment');
    } else if (expected !== undefined) {
      lost += 1;
      expect(harmed.has('segment'), `shard ${name}: ${found}`).toBe(true);
      expect(['shard_damaged', 'shard_not_found']).toContain(found);
    } else {
      expect(['shard_damaged', 'shard_not_found']).toContain(found);
    }
  }
  return lost;
}

it(
  'survives damage anywhere in its directory, tells of it, and serves none of it',
  { timeout: 60_000 + RUNS * 3000 },
  async () => {
    const files = await filesOf(whole);
    for (const kind of ['segment', 'index', 'other']) expect(files.map((file) => file.kind)).toContain(kind);
    for (let seed = 1; seed <= RUNS; seed += 1) {
      const random = new Random(seed);
      const directory = path.join(root, `run-${seed}`);
      await cp(whole, directory, { recursive: true });
      const harmed = new Set<Kind>();
      const done: string[] = [];
      for (let count = 1 + random.below(3); count > 0; count -= 1) {
        // As often in what there is little of.
        const kind = (['segment', 'index', 'other'] as const)[random.below(3)]!;
        const some = files.filter((file) => file.kind === kind);
        const { name } = some[random.below(some.length)]!;
        // One of the two stamps must be left.
        if (name.startsWith('stamp') && done.some((line) => line.includes('stamp'))) continue;
        const what = await damage(path.join(directory, name), random);
        if (what === undefined) continue;
        harmed.add(kind);
        done.push(what);
      }
      try {
        const store = await open(directory);
        const { log, replay } = store.recovery;
        await compare(store, harmed);
        const { damaged } = await store.scrub();
        const reports = log.cut.length + log.damaged.length + replay.damage.length + damaged.length;
        if (harmed.has('segment')) expect(reports, 'nothing was reported').toBeGreaterThan(0);
        else expect({ reports, shards: store.damaged() }).toEqual({ reports: 0, shards: [] });
        // It goes on: what is lost is written again, as repair would.
        for (const [name, bytes] of contents) {
          if (typeof (await read(store, name)) === 'string')
            await store.put(key(name), options, chunks(bytes));
        }
        await store.compact({ minDeadFraction: 0 });
        expect(await compare(store, harmed)).toBe(0);
        await store.close();
        // No crash loop, and nothing is worse than before.
        const again = await open(directory);
        expect(again.recovery.replay.rebuilt).toBe(false);
        expect(await compare(again, harmed)).toBe(0);
        await again.close();
        const report = await verifyStore({ directory });
        expect(report.damagedShards).toEqual([]);
        if (!harmed.has('segment')) expect(report.sound).toBe(true);
      } catch (error) {
        throw new Error(`seed ${seed}: ${done.join(', ')}`, { cause: error });
      }
      await rm(directory, { recursive: true });
    }
  },
);
