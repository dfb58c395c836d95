import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { inspectReplica, mostAdvanced, recoverFrom, supersede } from './recover.ts';
import type { Database } from './database.ts';
import { until } from './testing/driver_cluster.ts';
import { TestCluster } from './testing/test_cluster.ts';

let cluster: TestCluster;

afterEach(async () => {
  await cluster.close();
});

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));

async function put(database: Database, key: string): Promise<void> {
  const operation = { type: 'put' as const, table: 't', key: bytes(key), value: bytes(key) };
  await database.batch({ conditions: [], operations: [operation] }, { deadlineMs: 15_000 });
}

async function has(database: Database, key: string): Promise<boolean> {
  return (await database.get('t', bytes(key), { deadlineMs: 15_000 })) !== undefined;
}

const votersOf = (id: number): unknown => cluster.servers.get(id)?.status().voters.toSorted();

async function stopAll(): Promise<void> {
  for (const id of [...cluster.servers.keys()]) await cluster.stopServer(id);
}

describe('recovery from a survivor', { timeout: 60_000 }, () => {
  it('goes on with the most advanced, with all that its log holds', async () => {
    cluster = await TestCluster.start({ size: 5 });
    const client = await cluster.client();
    for (let i = 0; i < 20; i++) await put(client, `k${i}`);
    const leader = [...cluster.servers.values()][0]!.status().leader_id!;
    const [behind, ahead] = [1, 2, 3, 4, 5].filter((id) => id !== leader);
    await cluster.stopServer(behind!);
    for (let i = 20; i < 40; i++) await put(client, `k${i}`);
    await stopAll();
    const survivors = await Promise.all(
      [behind!, ahead!].map((id) => inspectReplica(cluster.directoryOf(id), id)),
    );
    const chosen = mostAdvanced(survivors)!;
    expect(chosen.slot).toBe(ahead);
    expect(chosen.voters).toBe(5);
    expect(chosen.lastWriteMs).toBeGreaterThan(Date.now() - 60_000);
    for (const id of [1, 2, 3, 4, 5]) {
      if (id !== behind && id !== ahead) await rm(cluster.directoryOf(id), { recursive: true });
    }
    await recoverFrom(chosen, Date.now());
    await supersede(survivors[0]!, chosen, Date.now());
    await Promise.all([1, 2, 3, 4, 5].map((id) => cluster.startServer(id)));
    await until('all vote again', () => JSON.stringify(votersOf(ahead!)) === '[1,2,3,4,5]', 40_000);
    for (let i = 0; i < 40; i++) expect(await has(client, `k${i}`)).toBe(true);
    expect(await client.get('state', bytes('cluster:audit:halted'))).toBeDefined();
    // The two that were there before are not needed.
    await cluster.stopServer(ahead!);
    await cluster.stopServer(behind!);
    await put(client, 'afterwards');
    expect(cluster.failures).toEqual([]);
    await client.close();
  });

  it('can be done again after it was interrupted between log and identity', async () => {
    cluster = await TestCluster.start({ size: 3 });
    const client = await cluster.client();
    await put(client, 'a');
    await stopAll();
    const identity = join(cluster.directoryOf(1), 'identity.json');
    const before = await readFile(identity);
    await recoverFrom(await inspectReplica(cluster.directoryOf(1), 1), Date.now());
    await writeFile(identity, before);
    await recoverFrom(await inspectReplica(cluster.directoryOf(1), 1), Date.now());
    for (const id of [2, 3]) await rm(cluster.directoryOf(id), { recursive: true });
    await Promise.all([1, 2, 3].map((id) => cluster.startServer(id)));
    await until('all vote', () => JSON.stringify(votersOf(1)) === '[1,2,3]', 30_000);
    expect(await has(client, 'a')).toBe(true);
    expect(cluster.failures).toEqual([]);
    await client.close();
  });

  it('what comes back of the old cluster steps aside for the new one', async () => {
    cluster = await TestCluster.start({ size: 3 });
    const client = await cluster.client();
    await put(client, 'a');
    await stopAll();
    await recoverFrom(await inspectReplica(cluster.directoryOf(1), 1), Date.now());
    const first = await cluster.startServer(1);
    await until('it leads', () => first.status().role === 'leader', 20_000);
    // Two that were thought lost: together a majority of the old cluster.
    for (const id of [2, 3]) await cluster.startServer(id);
    await until('both step aside', () => cluster.failures.length >= 2, 20_000);
    for (const failure of cluster.failures) expect(failure.message).toContain('was made a new cluster');
    for (const id of [2, 3]) await cluster.stopServer(id);
    for (const id of [2, 3]) await cluster.startServer(id);
    await until('all vote', () => JSON.stringify(votersOf(1)) === '[1,2,3]', 30_000);
    await put(client, 'b');
    expect(await has(client, 'a')).toBe(true);
    expect(new Set([...cluster.servers.values()].map((server) => server.status().cluster_id)).size).toBe(1);
    await client.close();
  });

  it('refuses a directory that is in use, or belongs to no cluster', async () => {
    cluster = await TestCluster.start({ size: 1 });
    await expect(inspectReplica(cluster.directoryOf(1), 1)).rejects.toThrow('in use by another process');
    await expect(inspectReplica(join(cluster.directory, 'none'), 1)).rejects.toThrow('is gone');
  });
});
