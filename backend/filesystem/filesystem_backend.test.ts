import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { anyone, get, newBucket, patternOf, put, region } from '../../tests/contract/requests.ts';
import type { Engine } from '../engine/engine.ts';
import { openFilesystemBackend } from './filesystem_backend.ts';

const silent = { debug: nothing, info: nothing, warn: nothing, error: nothing };
let basePath: string;
let backend: Engine;

function nothing(): void {
  // Tests look at answers, not at logs.
}

async function open(): Promise<Engine> {
  return openFilesystemBackend({ basePath, region, logger: silent, gcDelayMs: 1 });
}

async function contentFiles(): Promise<string[]> {
  const all = await readdir(join(basePath, 'fs'), { recursive: true });
  return all.filter((name) => /[0-9a-f]{64}-\d+$/.test(name));
}

beforeEach(async () => {
  basePath = await mkdtemp(join(tmpdir(), 's3d-fsb-'));
  backend = await open();
});
afterEach(async () => {
  await backend.close();
  await rm(basePath, { recursive: true });
});

describe('the filesystem backend', () => {
  it('keeps everything over a restart', async () => {
    const where = { bucket: await newBucket(backend), key: 'k' };
    const content = patternOf(300_000);
    const written = await put(backend, where, content, {
      metadata: { system: { contentType: 'a/b' }, user: { c: 'd' } },
    });
    const head = await backend.headObject({ ...where, authorize: anyone });
    await backend.close();
    backend = await open();
    expect(await backend.headObject({ ...where, authorize: anyone })).toEqual(head);
    expect(head.etag).toBe(written.etag);
    expect((await get(backend, where)).equals(content)).toBe(true);
  });

  it('removes content that a crash left before its metadata was written, and only that', async () => {
    const where = { bucket: await newBucket(backend), key: 'k' };
    await put(backend, where, 'kept');
    // As a crash between the two would leave it: whole and durable, and named by no row.
    const orphan = join('ab', `${'ab'.repeat(32)}-1`);
    await writeFile(join(basePath, 'fs', orphan), 'orphan');
    await backend.close();
    backend = await open();
    const written = await put(backend, { ...where, key: 'new' }, 'new');
    expect(written.sizeBytes).toBe(3);
    await expect.poll(contentFiles, { timeout: 10_000 }).not.toContain(orphan);
    expect(await contentFiles()).toHaveLength(2);
    expect((await get(backend, where)).toString()).toBe('kept');
    expect((await get(backend, { ...where, key: 'new' })).toString()).toBe('new');
  });

  it('leaves no file of what was deleted', async () => {
    const where = { bucket: await newBucket(backend), key: 'k' };
    await put(backend, where, 'one');
    await put(backend, where, 'two');
    await backend.deleteObject({ ...where, authorize: anyone });
    await new Promise((resolve) => setTimeout(resolve, 5));
    await backend.collectGarbage();
    expect(await contentFiles()).toEqual([]);
  });

  it('is locked against a second process', async () => {
    await expect(open()).rejects.toThrow();
    const where = { bucket: await newBucket(backend), key: 'k' };
    await put(backend, where, 'still works');
  });
});
