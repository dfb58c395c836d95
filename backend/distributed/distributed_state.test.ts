import { describe, expect, it } from 'vitest';

import type { Batch, Database, ScanPage, ScanRequest } from '../../s3db/database.ts';
import { DistributedState } from './distributed_state.ts';
import { MemoryState } from './testing/memory_state.ts';

/** Counts on top of the rows in memory. */
class FakeDatabase implements Database {
  readonly rows = new MemoryState();
  scans = 0;
  closed = false;

  async get(table: 'state', key: Uint8Array): Promise<Uint8Array | undefined> {
    return this.rows.get(table, key);
  }

  async scan(request: ScanRequest & { readonly table: 'state' }): Promise<ScanPage> {
    this.scans += 1;
    return this.rows.scan(request);
  }

  async batch(batch: Batch): Promise<{ readonly index: number }> {
    await this.rows.batch(batch);
    return { index: 1 };
  }

  async close(): Promise<void> {
    this.closed = true;
  }
}

describe('DistributedState', () => {
  it('sets, gets, deletes and closes through the database', async () => {
    const database = new FakeDatabase();
    const state = new DistributedState(database);
    const key = Buffer.from('k');
    expect(await state.exists('state', key)).toBe(false);
    await state.set('state', key, Buffer.from('v'));
    expect(await state.exists('state', key)).toBe(true);
    expect(await state.get('state', key)).toEqual(Buffer.from('v'));
    await expect(
      state.batch({ conditions: [{ table: 'state', key, exists: false }], operations: [] }),
    ).rejects.toThrow('condition 0');
    await state.delete('state', key);
    expect(await state.get('state', key)).toBeUndefined();
    await state.close();
    expect(database.closed).toBe(true);
  });

  it('lists keys page by page', async () => {
    const database = new FakeDatabase();
    const state = new DistributedState(database);
    const keys = Array.from({ length: 2500 }, (_, i) => Buffer.from(`p${String(i).padStart(5, '0')}`));
    for (const key of keys) await state.set('state', key, Buffer.of(1));
    await state.set('state', Buffer.from('q'), Buffer.of(1));
    const listed: string[] = [];
    for await (const key of state.listKeys('state', Buffer.from('p')))
      listed.push(Buffer.from(key).toString());
    expect(listed).toEqual(keys.map((key) => key.toString()));
    expect(database.scans).toBe(3);
  });
});
