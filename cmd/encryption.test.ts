import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Backend } from '../backend/backend.ts';
import { writeTestConfig, type TestConfig } from '../tests/cluster/test_config.ts';
import { openDistributedBackend, type EmbeddedBackend } from './embed.ts';

const known = 'a sentence that must not be found on any disk, ';
const owner = { id: '111111111111', displayName: 'main' };
const authorize = (): void => undefined;

async function* twice(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
  yield bytes;
}

/** Files below the directory in which the text stands. */
async function filesWith(directory: string, text: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const found: string[] = [];
  for (const entry of entries) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    if ((await readFile(path)).includes(text)) found.push(path);
  }
  return found;
}

describe('encryption at rest on a real cluster in one process', { timeout: 120_000 }, () => {
  let config: TestConfig;
  let opened: EmbeddedBackend | undefined;
  let keyFile: string;

  async function open(extra: string): Promise<Backend> {
    const text = await readFile(config.file, 'utf8');
    await writeFile(
      config.file,
      text.replace(/\[(?:encryption|compression)\][^[]*/g, '').replace('[[auth]]', `${extra}\n[[auth]]`),
    );
    opened = await openDistributedBackend({ configFile: config.file });
    return opened.backend;
  }
  async function put(backend: Backend, key: string, content: Buffer): Promise<void> {
    const body = { stream: twice(content), sizeBytes: 2 * content.length };
    const metadata = { system: {}, user: {} };
    await backend.putObject({ bucket: 'first', key, owner, metadata, authorize, body });
  }
  async function get(backend: Backend, key: string): Promise<Buffer> {
    const { body } = await backend.getObject({ bucket: 'first', key, authorize });
    const pieces: Uint8Array[] = [];
    for await (const piece of body) pieces.push(piece);
    return Buffer.concat(pieces);
  }

  beforeEach(async () => {
    config = await writeTestConfig({ nodes: 3, databases: 0, rs: { data: 2, parity: 1 } });
    await mkdir(config.basePath, { recursive: true });
    keyFile = join(config.basePath, 'keys');
    await writeFile(keyFile, 'a1'.repeat(32), { mode: 0o600 });
  });
  afterEach(async () => {
    await opened?.close();
    opened = undefined;
    await config.remove();
  });

  test('no disk holds what was stored, whole or in part, and the wrong key is refused', async () => {
    const small = Buffer.from(known);
    const big = Buffer.alloc(600_000, known);
    const plain = await open('');
    await plain.createBucket({ bucket: 'first', owner, region: 'eu-central-1' });
    await put(plain, 'plain', Buffer.from('this one was stored before'));
    await opened?.close();
    expect(await filesWith(config.basePath, 'this one was stored before')).not.toEqual([]);

    const sealed = await open('[encryption]\nkey_file = "keys"\n');
    await put(sealed, 'small', small);
    await put(sealed, 'big', big);
    for (const [key, content] of [
      ['small', small],
      ['big', big],
    ] as const) {
      expect((await get(sealed, key)).equals(Buffer.concat([content, content]))).toBe(true);
    }
    expect((await get(sealed, 'plain')).toString()).toBe('this one was stored before'.repeat(2));
    await opened?.close();
    expect(await filesWith(config.basePath, known.slice(0, 16))).toEqual([]);

    await writeFile(keyFile, 'b2'.repeat(32));
    const refused = Promise.withResolvers<Error>();
    opened = await openDistributedBackend({ configFile: config.file, onFatal: refused.resolve });
    expect((await refused.promise).message).toContain(
      "has another key 'default' than the one that stored content needs",
    );
    await opened.close();

    await chmod(keyFile, 0o644);
    opened = undefined;
    await expect(openDistributedBackend({ configFile: config.file })).rejects.toThrow(
      'is open to others on this machine',
    );
  });

  test('content that is compressed and encrypted comes back', async () => {
    const backend = await open('[encryption]\nkey_file = "keys"\n[compression]\nalgorithm = "zstd"\n');
    await backend.createBucket({ bucket: 'first', owner, region: 'eu-central-1' });
    const content = Buffer.alloc(3_000_000, known);
    await put(backend, 'big', content);
    expect((await get(backend, 'big')).equals(Buffer.concat([content, content]))).toBe(true);
  });
});
