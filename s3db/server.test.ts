import { afterEach, describe, expect, it } from 'vitest';
import type { Batch, Database } from './database.ts';
import { ConditionFailedError } from './errors.ts';
import { TestCluster } from './testing/test_cluster.ts';

let cluster: TestCluster;

afterEach(async () => {
  await cluster.close();
  expect(cluster.failures).toEqual([]);
});

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
const put = (key: string, value: string): Batch => ({
  conditions: [],
  operations: [{ type: 'put', table: 't', key: bytes(key), value: bytes(value) }],
});

async function read(database: Database, key: string): Promise<string | undefined> {
  const value = await database.get('t', bytes(key));
  return value === undefined ? undefined : Buffer.from(value).toString();
}

describe('a single replica', () => {
  it('serves its client, and its data outlive it', async () => {
    cluster = await TestCluster.start({ size: 1 });
    const client = await cluster.client();
    await client.batch(put('a', '1'));
    expect(await read(client, 'a')).toBe('1');
    expect(await read(client, 'b')).toBeUndefined();
    const conditional: Batch = {
      ...put('a', '2'),
      conditions: [{ table: 't', key: bytes('a'), exists: false }],
    };
    await expect(client.batch(conditional)).rejects.toThrow(ConditionFailedError);
    const page = await client.scan({ table: 't', prefix: bytes(''), limit: 10 });
    expect(page.items.map((item) => Buffer.from(item.value).toString())).toEqual(['1']);
    await cluster.stopServer(1);
    await cluster.startServer(1);
    expect(await read(client, 'a')).toBe('1');
    await client.close();
  });
});
