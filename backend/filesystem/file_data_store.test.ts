import { randomBytes } from 'node:crypto';
import {
  mkdtemp,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  truncate,
  writeFile,
  type FileHandle,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { UnavailableError } from '../../s3db/errors.ts';
import { ContentDamagedError, type Locator } from '../data_store.ts';
import { FileDataStore } from './file_data_store.ts';

const blockBytes = 4096;
let directory: string;
let data: FileDataStore;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 's3d-files-'));
  data = await FileDataStore.open(directory, { blockBytes });
});
afterEach(async () => {
  await data.close();
  await rm(directory, { recursive: true });
});

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

async function write(
  content: Uint8Array,
  id: Uint8Array = new Uint8Array(randomBytes(32)),
): Promise<Locator> {
  return (await data.write(id, once(content), {})).locator;
}

async function read(locator: Locator): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of await data.read(locator)) pieces.push(piece);
  return Buffer.concat(pieces);
}

async function contentFiles(): Promise<string[]> {
  const all = await readdir(directory, { recursive: true });
  return all.filter((name) => /[0-9a-f]{64}-\d+$/.test(name)).map((name) => join(directory, name));
}

async function fileHandlePrototype(): Promise<FileHandle> {
  const probe = await open(join(directory, 'run'));
  await probe.close();
  return Object.getPrototypeOf(probe) as FileHandle;
}

function errorWith(code: string): Error {
  return Object.assign(new Error(code), { code });
}

describe('FileDataStore', () => {
  it('never gives a byte of a block that was flipped anywhere', async () => {
    const content = randomBytes(blockBytes * 2 + 100);
    const locator = await write(content);
    const [path] = await contentFiles();
    const whole = await readFile(path!);
    expect(whole.length).toBe(content.length + 12);
    for (let at = 0; at < whole.length; at += 53) {
      const flipped = Buffer.from(whole);
      flipped[at]! ^= 1 << (at % 8);
      await writeFile(path!, flipped);
      await expect(read(locator)).rejects.toBeInstanceOf(ContentDamagedError);
    }
    await writeFile(path!, whole);
    expect((await read(locator)).equals(content)).toBe(true);
  });

  it('gives what is before a damaged block, and then fails', async () => {
    const content = randomBytes(blockBytes * 3);
    const locator = await write(content);
    const [path] = await contentFiles();
    const damaged = await readFile(path!);
    damaged[blockBytes * 2 + 20]! ^= 1;
    await writeFile(path!, damaged);
    const got: Buffer[] = [];
    await expect(
      (async () => {
        for await (const piece of await data.read(locator)) got.push(Buffer.from(piece));
      })(),
    ).rejects.toBeInstanceOf(ContentDamagedError);
    expect(Buffer.concat(got).equals(content.subarray(0, blockBytes * 2))).toBe(true);
    const range = { offset: 0, lengthBytes: blockBytes };
    for await (const piece of await data.read(locator, { range })) {
      expect(Buffer.compare(piece, content.subarray(0, blockBytes))).toBe(0);
    }
  });

  it('tells blocks of other content, other places and shortened files', async () => {
    const content = Buffer.alloc(blockBytes * 2, 7);
    const first = await write(content);
    const [firstPath] = await contentFiles();
    const whole = await readFile(firstPath!);
    const stride = blockBytes + 4;
    await writeFile(firstPath!, Buffer.concat([whole.subarray(stride), whole.subarray(0, stride)]));
    await expect(read(first)).rejects.toBeInstanceOf(ContentDamagedError);
    await writeFile(firstPath!, whole);
    await truncate(firstPath!, stride);
    await expect(read(first)).rejects.toBeInstanceOf(ContentDamagedError);
    const second = await write(content);
    const secondPath = (await contentFiles()).find((path) => path !== firstPath);
    await rename(secondPath!, firstPath!);
    await expect(read(first)).rejects.toBeInstanceOf(ContentDamagedError);
    await expect(read(second)).rejects.toThrow('no file');
  });

  it('leaves nothing of a write that fails, nor of one that a crash cut off', async () => {
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield randomBytes(100_000);
      throw new Error('gone');
    }
    await expect(data.write(new Uint8Array(32), broken(), {})).rejects.toThrow('gone');
    expect(await readdir(join(directory, 'tmp'))).toEqual([]);
    expect(await contentFiles()).toEqual([]);
    await writeFile(join(directory, 'tmp', 'left'), 'x');
    data = await FileDataStore.open(directory);
    expect(await readdir(join(directory, 'tmp'))).toEqual([]);
  });

  it('tells content of earlier starts from content of this one', async () => {
    const id = new Uint8Array(randomBytes(32));
    const locator = await write(randomBytes(10), id);
    const seen = async (): Promise<Uint8Array[]> => {
      const ids: Uint8Array[] = [];
      for await (const { contentId } of data.earlierContents()) ids.push(contentId);
      return ids;
    };
    expect(await seen()).toEqual([]);
    data = await FileDataStore.open(directory);
    await write(randomBytes(10));
    expect(await seen()).toEqual([id]);
    expect((await read(locator)).length).toBe(10);
  });

  it('gives back the file when a reader leaves, even before the first byte', async () => {
    const locator = await write(randomBytes(blockBytes * 600));
    const open = async (): Promise<number> => (await readdir('/proc/self/fd')).length;
    const before = await open();
    for (let i = 0; i < 20; i++) {
      const stream = await data.read(locator);
      const reader = stream[Symbol.asyncIterator]();
      if (i % 2 === 0) await reader.next();
      await reader.return?.();
    }
    expect(await open()).toBeLessThanOrEqual(before + 1);
  });

  it('writes no more after a failed sync, and goes on reading', async () => {
    const kept = await write(randomBytes(10));
    const failing = vi.spyOn(await fileHandlePrototype(), 'datasync').mockRejectedValueOnce(errorWith('EIO'));
    await expect(write(randomBytes(10))).rejects.toThrow('EIO');
    failing.mockRestore();
    await expect(write(randomBytes(10))).rejects.toBeInstanceOf(UnavailableError);
    expect(await contentFiles()).toHaveLength(1);
    expect((await read(kept)).length).toBe(10);
  });

  it('refuses what a full disk does not take, and goes on when there is room again', async () => {
    const failing = vi.spyOn(await fileHandlePrototype(), 'write').mockRejectedValueOnce(errorWith('ENOSPC'));
    await expect(write(randomBytes(10))).rejects.toBeInstanceOf(UnavailableError);
    failing.mockRestore();
    expect(await readdir(join(directory, 'tmp'))).toEqual([]);
    expect((await read(await write(randomBytes(10)))).length).toBe(10);
  });

  it('keeps the content to its owner', async () => {
    await write(randomBytes(10));
    const [path] = await contentFiles();
    expect((await stat(path!)).mode & 0o077).toBe(0);
  });
});
