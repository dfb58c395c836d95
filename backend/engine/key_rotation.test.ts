import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { EncryptionRequest } from '../backend.ts';
import { KeyringError } from '../encryption/errors.ts';
import { Keyring } from '../encryption/keyring.ts';
import type { Engine } from './engine.ts';
import { decodeContent, type ContentRow } from './rows.ts';
import { openFixture, type Fixture } from './testing/fixture.ts';

const owner = { id: '1', displayName: 'one' };
const metadata = { system: {}, user: {} };
const authorize = (): void => undefined;
const [first, second, third] = ['11', '22', '33'].map((byte) => byte.repeat(32)) as [string, string, string];

/** Key files: `active`, and each key with its material and earlier ones. */
function ring(
  active: string,
  keys: Readonly<Record<string, readonly [string, ...string[]]>>,
): () => Promise<Keyring> {
  const tables = Object.entries(keys).map(
    ([id, [key, ...previous]]) =>
      `[[keys]]\nid = "${id}"\nkey = "${key}"\nprevious = ${JSON.stringify(previous)}\n`,
  );
  return async () => Keyring.parse(`active = "${active}"\n${tables.join('')}`, 'test');
}

const old = ring('a', { a: [first], kms: [third] });
const both = ring('b', { a: [first], b: [second], kms: [first, third] });
const fresh = ring('b', { b: [second], kms: [first] });

let fixture: Fixture;
let current: () => Promise<Keyring>;
let engine: Engine;

beforeEach(async () => {
  current = old;
  fixture = await openFixture({ encryption: { readKeyring: () => current(), atRest: true, rotates: false } });
  ({ engine } = fixture);
  await engine.createBucket({ bucket: 'bbb', owner, region: 'eu-test-1' });
});
afterEach(async () => {
  await fixture.close();
});

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

function put(
  key: string,
  content: Uint8Array,
  encryption?: EncryptionRequest,
  by = engine,
): Promise<unknown> {
  const body = { stream: once(content), sizeBytes: content.length };
  return by.putObject({
    bucket: 'bbb',
    key,
    owner,
    metadata,
    authorize,
    body,
    ...(encryption === undefined ? {} : { encryption }),
  });
}

async function get(key: string, by = engine): Promise<Buffer> {
  const { body } = await by.getObject({ bucket: 'bbb', key, authorize });
  const pieces: Uint8Array[] = [];
  for await (const piece of body) pieces.push(piece);
  return Buffer.concat(pieces);
}

async function upload(key: string, part: Uint8Array): Promise<void> {
  const at = { bucket: 'bbb', key, authorize };
  const { uploadId } = await engine.createMultipartUpload({ ...at, owner, metadata });
  const body = { stream: once(part), sizeBytes: part.length };
  const { etag } = await engine.uploadPart({ ...at, uploadId, partNumber: 1, body });
  await engine.completeMultipartUpload({ ...at, uploadId, parts: [{ partNumber: 1, etag }] });
}

async function contentRows(): Promise<ContentRow[]> {
  const page = await fixture.state.inner.scan({ table: 'objects', prefix: new Uint8Array(0), limit: 1000 });
  return page.items.filter(({ key }) => key.length === 32).map(({ value }) => decodeContent(value));
}

async function usedKeys(): Promise<string[]> {
  const keys = (await contentRows()).flatMap(({ sealed }) => sealed?.key?.under ?? []);
  const names = keys.map(({ id, fingerprint }) => `${id} ${Buffer.from(fingerprint).toString('hex')}`);
  return [...new Set(names)].sort();
}

/** What would be left of everything for an engine with these keys. */
async function opened(readKeyring: () => Promise<Keyring>): Promise<Engine> {
  return fixture.another({ encryption: { readKeyring, atRest: true, rotates: false } });
}

describe('rotating keys', () => {
  it('wraps everything anew, after which the old keys are not needed', async () => {
    const contents = new Map<string, Buffer>();
    for (let i = 0; i < 120; i++) contents.set(`k${i}`, randomBytes(i * 10));
    for (const [key, content] of contents) await put(key, content);
    await put('kms', Buffer.from('under kms'), { type: 'aws:kms', keyId: 'kms', context: { a: '1' } });
    await upload('m', Buffer.from('a part'));
    current = both;
    await engine.reloadKeys();
    expect(await engine.rotateKeys()).toBe(true);
    const status = await engine.encryptionStatus();
    expect(status?.active).toBe('b');
    expect(status?.needed.map(({ id, use }) => `${id} ${use}`).sort()).toEqual(['b rest', 'kms kms']);
    expect(status?.rotation).toMatchObject({
      rewrapped: 122,
      failed: 0,
      finishedMs: expect.any(Number) as number,
    });
    expect(await usedKeys()).toHaveLength(2);

    const later = await opened(fresh);
    for (const [key, content] of contents) expect(await get(key, later)).toEqual(content);
    expect((await get('kms', later)).toString()).toBe('under kms');
    expect((await get('m', later)).toString()).toBe('a part');
  });

  it('goes on while objects are written, read and replaced, and loses none', async () => {
    for (let i = 0; i < 60; i++) await put(`k${i}`, Buffer.from(`first ${i}`));
    current = both;
    await engine.reloadKeys();
    const stop = { now: false };
    const written = new Map<string, string>();
    const writing = (async () => {
      for (let i = 0; !stop.now; i = (i + 1) % 60) {
        await put(`k${i}`, Buffer.from(`again ${i}`));
        written.set(`k${i}`, `again ${i}`);
        expect((await get(`k${i}`)).toString()).toBe(`again ${i}`);
      }
    })();
    expect(await engine.rotateKeys()).toBe(true);
    stop.now = true;
    await writing;
    const later = await opened(fresh);
    for (let i = 0; i < 60; i++) {
      expect((await get(`k${i}`, later)).toString()).toBe(written.get(`k${i}`) ?? `first ${i}`);
    }
  });

  it('goes on where it was interrupted', async () => {
    for (let i = 0; i < 10; i++) await put(`k${i}`, Buffer.from(`content ${i}`));
    current = both;
    let failures = 0;
    fixture.state.onBatch = async (batch, apply) => {
      if (batch.operations.every(({ key }) => key.length === 32) && failures++ === 0)
        throw new Error('cut off');
      await apply();
    };
    const other = await opened(both);
    await expect(other.rotateKeys()).rejects.toThrow('cut off');
    expect((await other.encryptionStatus())?.rotation?.finishedMs).toBeUndefined();
    const startedMs = (await other.encryptionStatus())?.rotation?.startedMs;
    await other.close();
    const third = await opened(both);
    expect(await third.rotateKeys()).toBe(true);
    const status = await third.encryptionStatus();
    expect(status?.rotation).toMatchObject({ startedMs, rewrapped: 10 });
    expect(status?.needed.map(({ id }) => id)).toEqual(['b']);
  });

  it('keeps a key that another gateway still wraps under, whose writes do not fail', async () => {
    await put('k', Buffer.from('by the old'));
    const rotating = await opened(both);
    let between: Promise<unknown> | undefined;
    fixture.state.onBatch = async (batch, apply) => {
      const retires = batch.operations.some(({ type, table }) => type === 'delete' && table === 'state');
      if (retires) await (between ??= put('late', Buffer.from('by the old, later')));
      await apply();
    };
    expect(await rotating.rotateKeys()).toBe(false);
    expect(between).toBeDefined();
    expect((await rotating.encryptionStatus())?.needed.map(({ id }) => id).sort()).toEqual(['a', 'b']);
    await expect(opened(fresh)).rejects.toThrow("lacks the key 'a'");
    expect(await rotating.rotateKeys()).toBe(true);
    expect((await get('late', rotating)).toString()).toBe('by the old, later');
    // The other gateway can't read what is under a key that it lacks, until it reads its keyring again.
    await put('new', Buffer.from('by the new'), undefined, rotating);
    await expect(get('new')).rejects.toMatchObject({ code: 'ServiceUnavailable' });
    current = both;
    await engine.reloadKeys();
    expect((await get('new')).toString()).toBe('by the new');
  });

  it('counts a wrapped key that is damaged, and keeps the key that it is under', async () => {
    await put('k', Buffer.from('content'));
    const page = await fixture.state.inner.scan({ table: 'objects', prefix: new Uint8Array(0), limit: 1000 });
    const row = page.items.find(({ key }) => key.length === 32);
    if (row === undefined) throw new Error('no content row');
    const wrapped = decodeContent(row.value).sealed?.key?.wrapped;
    const at = Buffer.from(row.value).indexOf(Buffer.from(wrapped ?? []));
    const damaged = Buffer.from(row.value);
    damaged.writeUInt8(damaged.readUInt8(at + 20) ^ 1, at + 20);
    await fixture.state.inner.set('objects', row.key, damaged);
    const rotating = await opened(both);
    expect(await rotating.rotateKeys()).toBe(false);
    expect((await rotating.encryptionStatus())?.rotation).toMatchObject({ failed: 1, rewrapped: 0 });
    expect((await rotating.encryptionStatus())?.needed.map(({ id }) => id)).toContain('a');
    await expect(get('k', rotating)).rejects.toMatchObject({ code: 'InternalError' });
  });
});

describe('a keyring', () => {
  it('that lacks what content needs, or has another key of its name, is refused', async () => {
    await put('k', Buffer.from('content'));
    await expect(opened(ring('b', { b: [second] }))).rejects.toThrow(KeyringError);
    await expect(opened(ring('a', { a: [second] }))).rejects.toThrow("has another key 'a' than the one");
    current = ring('a', { a: [second] });
    await expect(engine.reloadKeys()).rejects.toMatchObject({ problem: 'wrong-key' });
    expect((await get('k')).toString()).toBe('content');
    await put('k2', Buffer.from('goes on'));
    const moved = await opened(ring('a', { a: [second, first] }));
    expect((await get('k2', moved)).toString()).toBe('goes on');
  });
});
