import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Log } from '../wal/log.ts';
import type { Configuration, Entry, SnapshotMeta } from './raft/types.ts';
import { RaftLogDamagedError, WalRaftStorage, type RecoveredLog } from './raft_storage.ts';

let directory: string;
let storage: WalRaftStorage;
let recovered: RecoveredLog;

const configuration: Configuration = { voters: [1n, 2n, 3n], learners: [], removed: [] };
const base = (index: number, term = 1): SnapshotMeta => ({ index, term, configuration });

async function open(): Promise<void> {
  const log = await Log.open({ directory: join(directory, 'log'), segmentSizeBytes: 64 * 1024 });
  ({ storage, recovered } = await WalRaftStorage.open(log));
}

async function reopen(): Promise<RecoveredLog> {
  await storage.close();
  await open();
  return recovered;
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 's3db-log-'));
  await open();
});

afterEach(async () => {
  await storage.close();
  await rm(directory, { recursive: true });
});

function entries(from: number, to: number, options: { term?: number; sizeBytes?: number } = {}): Entry[] {
  const { term = 1, sizeBytes = 10 } = options;
  return Array.from({ length: to - from + 1 }, (_, i) => ({
    term,
    index: from + i,
    type: 'command' as const,
    data: new Uint8Array(sizeBytes).fill(from + i),
  }));
}

describe('WalRaftStorage', () => {
  it('finds nothing in a new directory', () => {
    expect(recovered).toEqual({
      hardState: { term: 0, vote: 0n, commit: 0 },
      snapshot: undefined,
      entries: [],
    });
  });

  it('brings back hard state, beginning and entries', async () => {
    await storage.restart(base(0, 0));
    await storage.append({ hardState: { term: 1, vote: 2n, commit: 0 }, entries: entries(1, 3) });
    await storage.append({ entries: entries(4, 4) });
    await storage.append({ hardState: { term: 2, vote: 0n, commit: 3 }, entries: [] });
    expect(await reopen()).toEqual({
      hardState: { term: 2, vote: 0n, commit: 3 },
      snapshot: base(0, 0),
      entries: entries(1, 4),
    });
  });

  it('cuts off what an entry replaces', async () => {
    await storage.restart(base(0, 0));
    await storage.append({ entries: entries(1, 9) });
    await storage.append({ entries: entries(5, 6, { term: 2 }) });
    expect((await reopen()).entries).toEqual([...entries(1, 4), ...entries(5, 6, { term: 2 })]);
  });

  it('keeps the order of appends that overlap', async () => {
    await storage.restart(base(0, 0));
    await Promise.all([1, 2, 3, 4, 5].map((i) => storage.append({ entries: entries(i, i) })));
    expect((await reopen()).entries).toEqual(entries(1, 5));
  });

  it('takes more at once than fits one append of the log', async () => {
    await storage.restart(base(0, 0));
    await storage.append({ entries: entries(1, 9, { sizeBytes: 8 * 1024 * 1024 }) });
    expect((await reopen()).entries.map(({ index, data }) => [index, data.length, data.at(-1)])).toEqual(
      Array.from({ length: 9 }, (_, i) => [i + 1, 8 * 1024 * 1024, i + 1]),
    );
  });

  it('starts anew behind an installed snapshot', async () => {
    await storage.restart(base(0, 0));
    await storage.append({ entries: entries(1, 9) });
    await storage.restart(base(7, 2), { term: 3, vote: 0n, commit: 7 });
    expect(await reopen()).toEqual({
      hardState: { term: 3, vote: 0n, commit: 7 },
      snapshot: base(7, 2),
      entries: [],
    });
    await storage.append({ entries: entries(8, 9, { term: 3 }) });
    expect((await reopen()).entries).toEqual(entries(8, 9, { term: 3 }));
  });

  it('drops whole segments behind a compaction and keeps all that is needed', async () => {
    await storage.restart(base(0, 0), { term: 1, vote: 3n, commit: 0 });
    for (let i = 1; i <= 60; i++) await storage.append({ entries: entries(i, i, { sizeBytes: 8000 }) });
    await storage.append({ hardState: { term: 1, vote: 3n, commit: 60 }, entries: [] });
    await storage.compact(base(20));
    await storage.compact(base(40));
    for (let i = 61; i <= 70; i++) await storage.append({ entries: entries(i, i, { sizeBytes: 8000 }) });
    const after = await reopen();
    expect(after.snapshot).toEqual(base(40));
    expect(after.hardState).toEqual({ term: 1, vote: 3n, commit: 60 });
    expect(after.entries).toEqual(entries(41, 70, { sizeBytes: 8000 }));
    await storage.compact(base(69));
    expect((await reopen()).entries).toEqual(entries(70, 70, { sizeBytes: 8000 }));
  });

  it('survives compactions whose older marks lie behind the segments they speak of', async () => {
    await storage.restart(base(0, 0));
    for (let i = 1; i <= 100; i++) {
      await storage.append({ entries: entries(i, i, { sizeBytes: 8000 }) });
      if (i % 9 === 0) await storage.compact(base(i - 4));
      if (i % 13 === 0) {
        const after = await reopen();
        const last = after.entries.at(-1)?.index;
        expect(last).toBe(i);
      }
    }
  });

  it('frees the disk', async () => {
    const log = await Log.open({ directory: join(directory, 'other'), segmentSizeBytes: 64 * 1024 });
    const other = (await WalRaftStorage.open(log)).storage;
    await other.restart(base(0, 0));
    for (let i = 1; i <= 200; i++) {
      await other.append({ entries: entries(i, i, { sizeBytes: 8000 }) });
      await other.compact(base(i));
    }
    expect(log.segments.length).toBeLessThanOrEqual(2);
    await other.close();
  });

  it('refuses a log that lacks entries in its middle', async () => {
    await storage.restart(base(0, 0));
    await storage.append({ entries: entries(1, 3) });
    await storage.append({ entries: entries(5, 6) });
    await storage.close();
    await expect(open()).rejects.toThrow(RaftLogDamagedError);
    await rm(join(directory, 'log'), { recursive: true });
    await open();
  });

  it('refuses a log that ends before its commit index', async () => {
    await storage.restart(base(0, 0));
    await storage.append({ hardState: { term: 1, vote: 0n, commit: 4 }, entries: entries(1, 3) });
    await storage.close();
    await expect(open()).rejects.toThrow(RaftLogDamagedError);
    await rm(join(directory, 'log'), { recursive: true });
    await open();
  });
});
