import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { aws, s3api } from './clients/aws_cli.ts';
import { startFilesystem, type Store } from './servers.ts';

describe('an existing directory served as a bucket', () => {
  let directory: string;
  let work: string;
  let store: Store;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 's3d-served-'));
    work = await mkdtemp(join(tmpdir(), 's3d-work-'));
    await mkdir(join(directory, 'docs'));
    await writeFile(join(directory, 'docs/hello.txt'), 'hello');
    await writeFile(join(work, 'secret'), 'not for anyone');
    await symlink(join(work, 'secret'), join(directory, 'link'));
    store = await startFilesystem(`[[buckets]]\nname = "served"\ntype = "fs"\npathname = "${directory}"\n`);
  });
  afterAll(async () => {
    await store.stop();
    await rm(directory, { recursive: true, force: true });
    await rm(work, { recursive: true, force: true });
  });

  test('its files are objects', async () => {
    const [endpoint] = store.endpoints;
    await aws(endpoint, 's3', 'cp', '--no-progress', 's3://served/docs/hello.txt', join(work, 'out'));
    expect(await readFile(join(work, 'out'), 'utf8')).toBe('hello');
    expect(await aws(endpoint, 's3', 'ls', '--recursive', 's3://served')).toContain('docs/hello.txt');
  });

  test('what is written through S3 lies there as ordinary files', async () => {
    const [endpoint] = store.endpoints;
    await writeFile(join(work, 'in'), 'new content');
    await aws(endpoint, 's3', 'cp', '--no-progress', join(work, 'in'), 's3://served/a/b/c.txt');
    expect(await readFile(join(directory, 'a/b/c.txt'), 'utf8')).toBe('new content');
    await aws(endpoint, 's3', 'rm', 's3://served/a/b/c.txt');
    await expect(readFile(join(directory, 'a/b/c.txt'))).rejects.toThrow('ENOENT');
  });

  test('a symbolic link is not followed, and no key escapes', async () => {
    const [endpoint] = store.endpoints;
    await expect(
      s3api(endpoint, 'get-object', '--bucket', 'served', '--key', 'link', join(work, 'stolen')),
    ).rejects.toThrow();
    const before = await readdir(work);
    await writeFile(join(work, 'in'), 'escaped?');
    for (const key of ['../escaped', 'a/../../escaped', './x', 'a//b', '/leading', 'docs/hello.txt/below']) {
      await s3api(endpoint, 'put-object', '--bucket', 'served', '--key', key, '--body', join(work, 'in'));
      await s3api(endpoint, 'get-object', '--bucket', 'served', '--key', key, join(work, 'out'));
      expect(await readFile(join(work, 'out'), 'utf8'), key).toBe('escaped?');
    }
    expect(await readdir(join(directory, '..'))).not.toContain('escaped');
    expect((await readdir(work)).filter((name) => name !== 'out' && !before.includes(name))).toEqual([]);
    expect(await readFile(join(directory, 'docs/hello.txt'), 'utf8')).toBe('hello');
  });
});
