import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { LocalState } from '../../backend/local_state.ts';
import { globalStateContract } from './global_state.ts';

globalStateContract('LocalState', async () => {
  const directory = await mkdtemp(join(tmpdir(), 's3d-state-'));
  const state = await LocalState.open(directory);
  return {
    state,
    close: async () => {
      await state.close();
      await rm(directory, { recursive: true });
    },
  };
});

it('LocalState keeps its rows over a restart, and refuses calls once closed', async () => {
  const directory = await mkdtemp(join(tmpdir(), 's3d-state-'));
  const key = new Uint8Array([1, 2, 3]);
  const before = await LocalState.open(directory);
  const writes = Array.from({ length: 50 }, (_, i) => before.set('objects', new Uint8Array([i]), key));
  const closed = before.close();
  await Promise.all(writes);
  await closed;
  await expect(before.get('objects', key)).rejects.toThrow('closed');
  await expect(before.set('objects', key, key)).rejects.toThrow('closed');
  const after = await LocalState.open(directory);
  for (let i = 0; i < 50; i++) expect(await after.exists('objects', new Uint8Array([i]))).toBe(true);
  await after.close();
  await rm(directory, { recursive: true });
});
