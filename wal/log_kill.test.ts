import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { expect, it } from 'vitest';
import { Log } from './log.ts';

const SCRIPT = `
  const { Log } = await import(process.argv[1]);
  const log = await Log.open({ directory: process.argv[2], segmentSizeBytes: 65536 });
  for (let at = 0; ; at += 16) {
    const texts = Array.from({ length: 16 }, (_, place) => String(at + place));
    await Promise.all(texts.map((text) => log.append([{ type: 1, key: Buffer.from(text), payload: Buffer.alloc(500) }])));
    process.stdout.write(at + 15 + '\\n');
  }
`;

// The page cache survives kill -9, so this is about the lock and about recovery, not about fsync.
it('is free again when its process was killed, and has all that it acknowledged', async () => {
  const directory = await mkdtemp(path.join(tmpdir(), 's3d-kill-'));
  let acknowledged = -1;
  try {
    for (let life = 0; life < 2; life += 1) {
      const url = new URL('log.ts', import.meta.url).href;
      const child = spawn(process.execPath, ['--input-type=module', '-e', SCRIPT, url, directory], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let output = '';
      child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
      await expect.poll(() => output.split('\n').length, { timeout: 20_000 }).toBeGreaterThan(20);
      await expect(Log.open({ directory })).rejects.toMatchObject({ code: 'log_locked' });
      child.kill('SIGKILL');
      await once(child, 'close');
      acknowledged = Number(output.split('\n').at(-2));

      const log = await Log.open({ directory });
      const found: number[] = [];
      for await (const item of log.scan()) {
        if (item.kind === 'record') found.push(Number(Buffer.from(item.record.key)));
      }
      const lifeStart = found.lastIndexOf(0);
      expect(found.slice(lifeStart, lifeStart + acknowledged + 1)).toEqual(
        Array.from({ length: acknowledged + 1 }, (_, at) => at),
      );
      await log.close();
    }
  } finally {
    await rm(directory, { recursive: true });
  }
});
