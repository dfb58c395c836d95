import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Level } from 'level';
import { expect, it, vi } from 'vitest';
import { LocalState } from '../../backend/local_state.ts';
import { UnavailableError, UnknownOutcomeError } from '../../s3db/errors.ts';
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

it('LocalState refuses everything after a failed write: what the disk holds is unknown', async () => {
  const directory = await mkdtemp(join(tmpdir(), 's3d-state-'));
  const state = await LocalState.open(directory);
  const key = new Uint8Array([1]);
  await state.set('objects', key, key);
  const failing = vi.spyOn(Level.prototype, 'batch').mockRejectedValueOnce(new Error('EIO'));
  const [first, second] = await Promise.allSettled([
    state.set('objects', key, new Uint8Array([2])),
    state.set('objects', new Uint8Array([2]), key),
  ]);
  failing.mockRestore();
  for (const outcome of [first, second]) {
    expect((outcome as PromiseRejectedResult).reason).toBeInstanceOf(UnknownOutcomeError);
  }
  await expect(state.set('objects', key, key)).rejects.toBeInstanceOf(UnavailableError);
  await expect(state.get('objects', key)).rejects.toBeInstanceOf(UnavailableError);
  await state.close();
  await rm(directory, { recursive: true });
});
