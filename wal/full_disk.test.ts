import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { LogFullError } from './errors.ts';
import { verifyStore } from './inspect.ts';
import type { ShardKey } from './shard_storage.ts';
import { ShardStore } from './shard_store.ts';
import { Random } from './testing/simulated_disk.ts';

const run = promisify(execFile);
const MIB = 1024 * 1024;
const DISK_BYTES = 24 * MIB;
const STAMP = { clusterId: 'c1', nodeId: 3 };
const options = { epoch: 1n, blockSizeBytes: 64 * 1024 };

let root: string;
let disk: string;
let unmountable = false;

/** A file system of a few megabytes. Undefined, or why this machine doesn't let us mount one. */
async function mount(directory: string): Promise<string | undefined> {
  if (process.platform !== 'linux') return 'only Linux has tmpfs';
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${DISK_BYTES}`, 'tmpfs', directory]);
    unmountable = true;
    return undefined;
  } catch (error) {
    return `mount: ${error instanceof Error ? error.message : String(error)}`;
  }
}

beforeEach(async () => {
  root = await mkdtemp(path.join(tmpdir(), 's3d-full-'));
  disk = path.join(root, 'disk');
  await mkdir(disk);
});

afterEach(async () => {
  if (unmountable) await run('umount', [disk]);
  unmountable = false;
  await rm(root, { recursive: true });
});

function key(name: number): ShardKey {
  const objectHash = Buffer.alloc(32);
  objectHash.writeUInt32BE(name);
  return { objectHash, index: 0 };
}

function open(reserveBytes: number): Promise<ShardStore> {
  return ShardStore.open({
    directory: path.join(disk, 'node'),
    stamp: STAMP,
    log: { segmentSizeBytes: 2 * MIB, reserveBytes },
    flushIntervalMs: 0,
  });
}

function contentOf(name: number): Buffer {
  return new Random(name).bytes(100_000 + (name % 7) * 20_000);
}

async function* chunks(bytes: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536);
}

/** Puts until there is no more space. @returns the names that were taken */
async function fill(store: ShardStore, first: number): Promise<number[]> {
  const taken: number[] = [];
  for (let name = first; name < first + 1000; name += 1) {
    try {
      await store.put(key(name), options, chunks(contentOf(name)));
      taken.push(name);
    } catch (error) {
      expect(error).toBeInstanceOf(LogFullError);
      return taken;
    }
  }
  throw new Error('the disk was never full');
}

async function fillToTheLastByte(): Promise<void> {
  const { bavail, bsize } = await statfs(disk);
  await writeFile(path.join(disk, 'other'), Buffer.alloc(bavail * bsize));
}

async function expectAll(store: ShardStore, names: readonly number[]): Promise<void> {
  expect((await store.scan({ limit: 10_000 })).length).toBe(names.length);
  for (const name of names) {
    const pieces: Uint8Array[] = [];
    for await (const piece of (await store.get(key(name))).body) pieces.push(piece);
    expect(Buffer.concat(pieces).equals(contentOf(name)), `shard ${name}`).toBe(true);
  }
}

// With the reserve as it is meant, and without one: then the file system itself says no, in the middle of writes.
it.each([6 * MIB, 0])(
  'a full disk: clear errors, deletes work, space comes back (reserve %d)',
  async (reserveBytes) => {
    const reason = await mount(disk);
    if (reason !== undefined) {
      process.stderr.write(`skipped: a file system of its own is needed (${reason})\n`);
      return;
    }
    let store = await open(reserveBytes);
    let names = await fill(store, 1);
    expect(names.length).toBeGreaterThan(50);
    expect(store.failure).toBeUndefined();
    await expectAll(store, names);
    await expect(store.put(key(9999), options, chunks(contentOf(9999)))).rejects.toMatchObject({
      code: 'log_full',
    });
    expect(await store.stat(key(9999))).toBeUndefined();

    if (reserveBytes === 0) {
      // Not even what an open writes may fit then: that is what the reserve is for. Nothing is lost all the same.
      await store.close();
      await fillToTheLastByte();
      await expect(open(0)).rejects.toThrow(LogFullError);
      await run('mount', ['-o', `remount,size=${DISK_BYTES + 4 * MIB}`, disk]);
      store = await open(0);
      await expectAll(store, names);
      await store.close();
      return;
    }
    const { bavail, bsize } = await statfs(disk);
    expect(bavail * bsize).toBeGreaterThan(reserveBytes / 2);
    for (const name of names.filter((each) => each % 3 !== 0))
      expect(await store.delete(key(name))).toBe(true);
    names = names.filter((each) => each % 3 === 0);
    await store.compact({ minDeadFraction: 0.3 });
    // Nobody told it that there is space again.
    const more = await fill(store, 2000);
    expect(more.length).toBeGreaterThan(30);
    await expectAll(store, [...names, ...more]);
    await store.close();
    store = await open(reserveBytes);
    await expectAll(store, [...names, ...more]);
    await store.close();
    expect(await verifyStore({ directory: path.join(disk, 'node') })).toMatchObject({ sound: true });
  },
);

it('goes on by itself when something else frees the disk', async () => {
  const reason = await mount(disk);
  if (reason !== undefined) {
    process.stderr.write(`skipped: a file system of its own is needed (${reason})\n`);
    return;
  }
  const store = await open(4 * MIB);
  await writeFile(path.join(disk, 'other'), Buffer.alloc(14 * MIB));
  const names = await fill(store, 1);
  await rm(path.join(disk, 'other'));
  const more = await fill(store, 2000);
  expect(more.length).toBeGreaterThan(50);
  await expectAll(store, [...names, ...more]);
  await store.close();
});
