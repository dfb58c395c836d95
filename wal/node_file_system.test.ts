import { mkdtemp, readdir, readFile, readlink, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { NodeFileSystem } from './node_file_system.ts';

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 's3d-files-'));
});

afterEach(() => rm(directory, { recursive: true }));

it.each([1, 3, 5000])('writes %d pieces durably, one behind the other', async (count) => {
  const path = join(directory, 'file');
  const file = await new NodeFileSystem().open(path, 'create');
  const pieces = Array.from({ length: count }, (_, i) => Buffer.from(`piece ${i};`));
  await file.write([Buffer.from('before')], 0);
  await file.writeDurably(pieces, 3);
  await file.writeDurably([Buffer.from('B')], 0);
  expect(await readFile(path, 'utf8')).toBe(`Bef${Buffer.concat(pieces).toString()}`);
  await file.close();
});

it.runIf(process.platform === 'linux')(
  'has the system sync what it writes durably, in one call',
  async () => {
    const path = join(directory, 'file');
    const file = await new NodeFileSystem().open(path, 'create');
    await file.writeDurably([Buffer.from('x')], 0);
    const flags = await flagsOfDescriptors(path);
    await file.close();
    const synced = 0o10000;
    expect(flags.filter((each) => (each & synced) !== 0)).toHaveLength(1);
    expect(await flagsOfDescriptors(path)).toEqual([]);
  },
);

/** Of all that this process has open on the file. */
async function flagsOfDescriptors(path: string): Promise<number[]> {
  const flags: number[] = [];
  for (const descriptor of await readdir('/proc/self/fd')) {
    // The one that lists the directory is gone by now.
    const target = await readlink(`/proc/self/fd/${descriptor}`).catch(() => undefined);
    if (target !== path) continue;
    const info = await readFile(`/proc/self/fdinfo/${descriptor}`, 'utf8');
    flags.push(Number.parseInt(/^flags:\s+(\d+)$/m.exec(info)?.[1] ?? '', 8));
  }
  return flags;
}
