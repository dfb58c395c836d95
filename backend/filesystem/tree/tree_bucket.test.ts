import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  appendFile,
  chmod,
  link,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  alice,
  anyone,
  bytesOf,
  get,
  keysOf,
  md5,
  put,
  refusal,
  startUpload,
  uploadParts,
} from '../../../tests/contract/requests.ts';
import type { Engine } from '../../engine/engine.ts';
import { LocalState } from '../../local_state.ts';
import { openFilesystemBackend } from '../filesystem_backend.ts';

const silent = { debug: nothing, info: nothing, warn: nothing, error: nothing };
const bucket = 'served';
let base: string;
let tree: string;
let backend: Engine;

function nothing(): void {
  // Tests look at answers, not at logs.
}

async function open(): Promise<Engine> {
  return openFilesystemBackend({
    basePath: join(base, 'data'),
    region: 'eu-test-1',
    logger: silent,
    buckets: [
      { name: bucket, owner: alice, public: true, pathname: tree },
      { name: 'engine-kept', owner: alice, public: false },
    ],
  });
}

beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 's3d-tree-'));
  tree = join(base, 'tree');
  await mkdir(tree);
  backend = await open();
});
afterEach(async () => {
  await backend.close();
  await rm(base, { recursive: true });
});

const at = (key: string): { bucket: string; key: string; authorize: typeof anyone } => ({
  bucket,
  key,
  authorize: anyone,
});

describe('a served directory', () => {
  it('shows what is in it already, and what others change, at once', async () => {
    await mkdir(join(tree, 'sub', 'empty'), { recursive: true });
    await writeFile(join(tree, 'sub', 'a.txt'), 'one');
    expect(await keysOf(backend, bucket)).toEqual(['sub/a.txt']);
    const head = await backend.headObject(at('sub/a.txt'));
    expect(head).toMatchObject({ etag: md5('one'), sizeBytes: 3, metadata: { system: {}, user: {} } });
    expect(head.checksum?.algorithm).toBe('CRC64NVME');
    await writeFile(join(tree, 'sub', 'a.txt'), 'two');
    expect((await backend.headObject(at('sub/a.txt'))).etag).toBe(md5('two'));
    expect((await get(backend, at('sub/a.txt'))).toString()).toBe('two');
    await rm(join(tree, 'sub', 'a.txt'));
    await refusal(backend.headObject(at('sub/a.txt')), 'NoSuchKey');
    const rolled = await backend.listObjects({
      bucket,
      prefix: '',
      delimiter: '/',
      maxKeys: 10,
      authorize: anyone,
    });
    expect(rolled).toEqual({ objects: [], prefixes: [] });
  });

  it('keeps objects as plain files of the same names', async () => {
    await put(backend, at('dir/file.bin'), 'content');
    expect(await readFile(join(tree, 'dir', 'file.bin'), 'utf8')).toBe('content');
    await backend.deleteObject(at('dir/file.bin'));
    expect(await readdir(tree)).toEqual(['.s3d']);
    expect(await readdir(join(tree, '.s3d', 'tmp'))).toEqual([]);
  });

  it('takes metadata as said of the very file it was said of', async () => {
    const metadata = { system: { contentType: 'text/css' }, user: { a: 'b' } };
    await put(backend, at('k'), 'x', { metadata });
    expect((await backend.headObject(at('k'))).metadata).toEqual(metadata);
    await backend.close();
    backend = await open();
    expect((await backend.headObject(at('k'))).metadata).toEqual(metadata);
    await writeFile(join(tree, 'k'), 'changed by somebody');
    expect((await backend.headObject(at('k'))).metadata).toEqual({ system: {}, user: {} });
  });

  it('remembers the ETag of a file that has settled, by inode, size and time', async () => {
    const path = join(tree, 'k');
    await writeFile(path, 'aaaa');
    const settled = new Date(Date.now() - 60_000);
    await utimes(path, settled, settled);
    expect((await backend.headObject(at('k'))).etag).toBe(md5('aaaa'));
    // Same inode, size and time: only a cache can answer as before.
    await writeFile(path, 'bbbb');
    await utimes(path, settled, settled);
    expect((await backend.headObject(at('k'))).etag).toBe(md5('aaaa'));
    // One of them differs: read anew.
    await utimes(path, settled, new Date(settled.getTime() + 1000));
    expect((await backend.headObject(at('k'))).etag).toBe(md5('bbbb'));
  });

  it('does not remember the ETag of a file that may still change within its tick', async () => {
    const path = join(tree, 'k');
    const tick = new Date();
    await writeFile(path, 'aaaa');
    await utimes(path, tick, tick);
    expect((await backend.headObject(at('k'))).etag).toBe(md5('aaaa'));
    await writeFile(path, 'bbbb');
    await utimes(path, tick, tick);
    expect((await backend.headObject(at('k'))).etag).toBe(md5('bbbb'));
  });

  it('forgets what it knew of earlier states of a file that others change', async () => {
    await put(backend, at('k'), 'x', { metadata: { system: {}, user: { a: 'b' } } });
    const path = join(tree, 'k');
    for (let i = 0; i < 3; i++) {
      await writeFile(path, `state ${i}`);
      const settled = new Date(Date.now() - 60_000 - i * 1000);
      await utimes(path, settled, settled);
      await backend.headObject(at('k'));
    }
    await backend.close();
    const state = await LocalState.open(join(base, 'data', 'state'));
    const rows: string[] = [];
    for await (const key of state.listKeys('state', Buffer.from('tree:facts:')))
      rows.push(Buffer.from(key).toString());
    await state.close();
    backend = await open();
    expect(rows).toHaveLength(1);
  });

  it('lets a and a/b live together, whichever came first, and outlive a restart', async () => {
    await put(backend, at('a'), 'file');
    await put(backend, at('a/b'), 'below');
    await put(backend, at('c/d'), 'below');
    await put(backend, at('c'), 'file');
    await put(backend, at('c/'), 'marker');
    const all = ['a', 'a/b', 'c', 'c/', 'c/d'];
    expect(await keysOf(backend, bucket)).toEqual(all);
    await backend.close();
    backend = await open();
    expect(await keysOf(backend, bucket)).toEqual(all);
    expect((await get(backend, at('a/b'))).toString()).toBe('below');
    expect((await get(backend, at('c'))).toString()).toBe('file');
    for (const key of all) await backend.deleteObject(at(key));
    expect(await keysOf(backend, bucket)).toEqual([]);
    await backend.close();
    backend = await open();
    expect(await keysOf(backend, bucket)).toEqual([]);
    expect(await readdir(join(tree, '.s3d', 'keys'))).toEqual([]);
  });

  it('prefers the plain file where somebody made one beside a hidden one, and drops the hidden one on writing', async () => {
    await put(backend, at('a'), 'file');
    await put(backend, at('a/b'), 'hidden');
    await rm(join(tree, 'a'));
    await mkdir(join(tree, 'a'));
    await writeFile(join(tree, 'a', 'b'), 'plain');
    expect((await get(backend, at('a/b'))).toString()).toBe('plain');
    expect(await keysOf(backend, bucket)).toEqual(['a/b']);
    await put(backend, at('a/b'), 'written');
    await rm(join(tree, 'a'), { recursive: true });
    await refusal(backend.headObject(at('a/b')), 'NoSuchKey');
    expect(await keysOf(backend, bucket)).toEqual([]);
  });

  it('follows no symbolic link, to read, list, write or delete', async () => {
    const outside = join(base, 'outside');
    await mkdir(outside);
    await writeFile(join(outside, 'secret'), 'secret');
    await symlink(join(outside, 'secret'), join(tree, 'file-link'));
    await symlink(outside, join(tree, 'dir-link'));
    await symlink('/etc', join(tree, 'etc'));
    expect(await keysOf(backend, bucket)).toEqual([]);
    for (const key of ['file-link', 'dir-link/secret', 'dir-link', 'etc/passwd']) {
      await refusal(backend.getObject(at(key)), 'NoSuchKey');
    }
    await put(backend, at('file-link'), 'mine');
    await put(backend, at('dir-link/secret'), 'mine');
    await put(backend, at('dir-link/new'), 'mine');
    expect((await get(backend, at('file-link'))).toString()).toBe('mine');
    expect((await get(backend, at('dir-link/secret'))).toString()).toBe('mine');
    await backend.deleteObject(at('dir-link/secret'));
    await backend.deleteObject(at('file-link'));
    expect(await readdir(outside)).toEqual(['secret']);
    expect(await readFile(join(outside, 'secret'), 'utf8')).toBe('secret');
    expect(await readFile(join(tree, 'file-link'), 'utf8')).toBe('secret');
  });

  it('lets no key out of the directory, nor into what is its own', async () => {
    await writeFile(join(base, 'beside'), 'beside');
    for (const key of [
      '../beside',
      'x/../../beside',
      '/../beside',
      './../beside',
      '..',
      '.s3d/tmp/x',
      '.s3d/keys/y',
    ]) {
      await refusal(backend.getObject(at(key)), 'NoSuchKey');
      await put(backend, at(key), 'mine');
      expect((await get(backend, at(key))).toString()).toBe('mine');
      await backend.deleteObject(at(key));
    }
    expect(await readFile(join(base, 'beside'), 'utf8')).toBe('beside');
    expect((await readdir(base)).sort()).toEqual(['beside', 'data', 'tree']);
    expect(await readdir(join(tree, '.s3d', 'tmp'))).toEqual([]);
  });

  it('is not led out by whoever swaps a directory for a link while keys are resolved', async () => {
    const outside = join(base, 'outside');
    await mkdir(join(outside, 'deep'), { recursive: true });
    await writeFile(join(outside, 'deep', 'k'), 'secret');
    await mkdir(join(tree, 'd', 'deep'), { recursive: true });
    await writeFile(join(tree, 'd', 'deep', 'k'), 'inside');
    await symlink(outside, join(tree, 'link'));
    const swapping = new AbortController();
    const swapper = (async () => {
      while (!swapping.signal.aborted) {
        await rename(join(tree, 'd'), join(tree, 'parked'));
        await rename(join(tree, 'link'), join(tree, 'd'));
        await rename(join(tree, 'd'), join(tree, 'link'));
        await rename(join(tree, 'parked'), join(tree, 'd'));
      }
    })();
    const seen = new Set<string>();
    for (let i = 0; i < 300; i++) {
      const outcome = await get(backend, at('d/deep/k')).then(
        (bytes) => bytes.toString(),
        () => 'refused',
      );
      seen.add(outcome);
    }
    swapping.abort();
    await swapper;
    expect([...seen].filter((outcome) => outcome !== 'inside' && outcome !== 'refused')).toEqual([]);
  });

  it('does not wait for pipes, and leaves what is no file alone', async () => {
    execFileSync('mkfifo', [join(tree, 'pipe')]);
    await refusal(backend.getObject(at('pipe')), 'NoSuchKey');
    expect(await keysOf(backend, bucket)).toEqual([]);
    await put(backend, at('pipe'), 'mine');
    expect((await get(backend, at('pipe'))).toString()).toBe('mine');
    expect((await stat(join(tree, 'pipe'))).isFIFO()).toBe(true);
  });

  it('breaks off a read of a file that is changed meanwhile', async () => {
    const path = join(tree, 'log');
    await writeFile(path, Buffer.alloc(3_000_000, 1));
    const read = await backend.getObject(at('log'));
    await appendFile(path, 'more');
    await expect(bytesOf(read)).rejects.toThrow('changed');
    // A file that is replaced is another file: the reader keeps the one that it has.
    await put(backend, at('log'), Buffer.alloc(3_000_000, 2));
    const whole = await backend.getObject(at('log'));
    await put(backend, at('log'), 'new');
    expect((await bytesOf(whole)).equals(Buffer.alloc(3_000_000, 2))).toBe(true);
  });

  it('makes an object of the parts of an upload, and frees the parts', async () => {
    const upload = await startUpload(backend, at('videos/film'));
    const parts = await uploadParts(backend, upload, [Buffer.alloc(5 * 1024 * 1024, 1), 'end']);
    expect(await keysOf(backend, bucket)).toEqual([]);
    const written = await backend.completeMultipartUpload({ ...upload, parts });
    expect((await stat(join(tree, 'videos', 'film'))).size).toBe(5 * 1024 * 1024 + 3);
    expect(await backend.headObject(at('videos/film'))).toMatchObject({ etag: written.etag, partsCount: 2 });
    expect(written.etag.endsWith('-2')).toBe(true);
    await refusal(backend.abortMultipartUpload(upload), 'NoSuchUpload');
    expect(await readdir(join(tree, '.s3d', 'tmp'))).toEqual([]);
  });

  it('copies from and to buckets that the engine keeps', async () => {
    const kept = { bucket: 'engine-kept', key: 'k', authorize: anyone };
    await put(backend, kept, 'content', { metadata: { system: { contentType: 'a/b' }, user: {} } });
    const copy = { owner: alice, authorize: anyone };
    await backend.copyObject({ ...copy, ...at('copied'), source: kept });
    expect(await readFile(join(tree, 'copied'), 'utf8')).toBe('content');
    expect((await backend.headObject(at('copied'))).metadata.system.contentType).toBe('a/b');
    await backend.copyObject({ ...copy, ...kept, key: 'back', source: at('copied') });
    expect((await get(backend, { ...kept, key: 'back' })).toString()).toBe('content');
    const stale = { ...at('copied'), preconditions: { ifNoneMatch: [md5('content')] } };
    await refusal(backend.copyObject({ ...copy, ...kept, source: stale }), 'PreconditionFailed');
    const upload = await startUpload(backend, { ...kept, key: 'parts' });
    const part = await backend.uploadPartCopy({
      ...upload,
      partNumber: 1,
      source: at('copied'),
      range: { start: 1, end: 3 },
    });
    expect(part.etag).toBe(md5('ont'));
  });

  it('is part of the configuration: neither deleted nor made again', async () => {
    await refusal(backend.deleteBucket({ bucket, authorize: anyone }), 'MethodNotAllowed');
    await refusal(
      backend.createBucket({ bucket, owner: alice, region: 'eu-test-1' }),
      'BucketAlreadyOwnedByYou',
    );
    expect((await backend.headBucket({ bucket, authorize: anyone })).public).toBe(true);
    const { buckets } = await backend.listBuckets({ owner: alice, maxBuckets: 10 });
    expect(buckets.map(({ name }) => name)).toEqual(['engine-kept', 'served']);
  });

  it.skipIf(process.getuid?.() === 0)('says so where the directory may not be written', async () => {
    await chmod(tree, 0o500);
    await refusal(put(backend, at('k'), 'x'), 'AccessDenied');
    await chmod(tree, 0o700);
  });

  it('drops what a crash left in .s3d/tmp', async () => {
    await put(backend, at('k'), 'x');
    await backend.close();
    await writeFile(join(tree, '.s3d', 'tmp', 'left'), 'half');
    backend = await open();
    expect(await readdir(join(tree, '.s3d', 'tmp'))).toEqual([]);
    expect((await get(backend, at('k'))).toString()).toBe('x');
  });

  it('refuses to start where there is no directory, and gives the base path free again', async () => {
    await backend.close();
    const kept = tree;
    tree = join(base, 'nowhere');
    await expect(open()).rejects.toThrow('ENOENT');
    tree = kept;
    backend = await open();
  });

  it('shares no inode: a hard link beside the bucket keeps the old content', async () => {
    await put(backend, at('k'), 'old');
    await link(join(tree, 'k'), join(base, 'linked'));
    await put(backend, at('k'), 'new');
    expect(await readFile(join(base, 'linked'), 'utf8')).toBe('old');
    expect(
      createHash('md5')
        .update(await readFile(join(tree, 'k')))
        .digest('hex'),
    ).toBe(md5('new'));
  });
});
