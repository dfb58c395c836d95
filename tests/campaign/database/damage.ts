import { open, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Random } from '../../sim/random.ts';

/** Turns one bit around in what a stopped replica's log holds. @returns where. */
export async function flipByteInLog(directory: string, random: Random): Promise<string> {
  const logDirectory = join(directory, 'log');
  const files: { readonly path: string; readonly bytes: number }[] = [];
  for (const name of await readdir(logDirectory)) {
    const path = join(logDirectory, name);
    const facts = await stat(path);
    if (facts.isFile() && facts.size > 0) files.push({ path, bytes: await writtenBytes(path, facts.size) });
  }
  const { path, bytes } = random.pick(files.filter((file) => file.bytes > 0));
  const at = random.below(bytes);
  const file = await open(path, 'r+');
  try {
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, at);
    byte.writeUInt8(byte.readUInt8() ^ (1 << random.below(8)));
    await file.write(byte, 0, 1, at);
    await file.sync();
  } finally {
    await file.close();
  }
  return `a bit at ${at} of ${bytes} in ${path}`;
}

/** The state machine's directories are gone; log and identity stay. */
export async function removeState(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    if (name.startsWith('state-')) await rm(join(directory, name), { recursive: true });
  }
}

/** Segments have a fixed size: what follows the last byte that isn't zero was never written. */
async function writtenBytes(path: string, size: number): Promise<number> {
  const file = await open(path, 'r');
  try {
    const block = Buffer.alloc(1024 * 1024);
    for (let end = size; end > 0; end -= block.length) {
      const from = Math.max(0, end - block.length);
      const { bytesRead } = await file.read(block, 0, end - from, from);
      for (let i = bytesRead - 1; i >= 0; i--) if (block[i] !== 0) return from + i + 1;
    }
    return 0;
  } finally {
    await file.close();
  }
}
