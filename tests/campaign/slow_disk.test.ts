import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { SlowDisk } from './slow_disk.ts';

/** A process that uses the port as the program does, with each operation's milliseconds. */
const program = `
import { NodeFileSystem } from ${JSON.stringify(new URL('../../wal/node_file_system.ts', import.meta.url).href)};
const file = await new NodeFileSystem().open(process.argv[1], 'create');
const took: number[] = [];
let startMs = performance.now();
const lap = () => { took.push(performance.now() - startMs); startMs = performance.now(); };
await file.write([Buffer.from('some '), Buffer.from('bytes')], 3);
lap();
await file.dataSync();
lap();
const target = Buffer.alloc(20);
const count = await file.read(target, 3);
lap();
const size = await file.size();
await file.close();
process.stdout.write(JSON.stringify({ took, size, text: target.toString('utf8', 0, count) }));
`;

let directory: string;
let disk: SlowDisk;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 's3d-slow-disk-'));
  disk = new SlowDisk(join(directory, 'control'));
});

afterEach(async () => {
  await rm(directory, { recursive: true });
});

async function use(name: string): Promise<{ write: number; sync: number; read: number }> {
  const node = fileURLToPath(new URL('../../node_modules/.bin/node', import.meta.url));
  const { stdout } = await promisify(execFile)(
    node,
    ['--input-type=module-typescript', '--eval', program, join(directory, name)],
    { env: { ...process.env, ...disk.environment } },
  );
  const { took, size, text } = JSON.parse(stdout) as { took: number[]; size: number; text: string };
  expect({ size, text }).toEqual({ size: 13, text: 'some bytes' });
  const [write = 0, sync = 0, read = 0] = took;
  return { write, sync, read };
}

test('what a process does through its file-system port waits for as long as it is told, and only then', async () => {
  // Far longer than the operations themselves take, so that a busy machine doesn't look like a slow disk.
  await disk.slow({ write: [1500, 1600], sync: [2500, 2600], read: [0, 0] });
  const slow = await use('slow');
  expect(slow.write).toBeGreaterThan(1495);
  expect(slow.sync).toBeGreaterThan(2495);
  expect(slow.read).toBeLessThan(1500);
  await disk.slow({ write: [0, 0], sync: [0, 0], read: [1500, 1600] });
  expect((await use('slow reads')).read).toBeGreaterThan(1495);
  await disk.heal();
  const healed = await use('healed');
  expect(Math.max(healed.write, healed.sync, healed.read)).toBeLessThan(1500);
});
