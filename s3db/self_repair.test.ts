import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { Database } from './database.ts';
import { UnavailableError } from './errors.ts';
import { encodeKey, openBytesLevel } from './level_tables.ts';
import { until } from './testing/driver_cluster.ts';
import { TestCluster } from './testing/test_cluster.ts';

let cluster: TestCluster;

afterEach(async () => {
  await cluster.close();
});

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
const rows = 50;
/** So that the log alone soon doesn't have everything. */
const compacting = { retention: { entries: 10, bytes: 16 * 1024 }, logSegmentBytes: 16 * 1024 };

/**
 * One writer that counts up in every row, and readers that ask each replica: none may see less than what was acknowledged
 * before it asked.
 */
class Workload {
  readonly #acknowledged = new Map<string, number>();
  readonly #stop = new AbortController();
  readonly #done: Promise<unknown>;
  violations: string[] = [];
  writes = 0;
  readonly reads = new Map<number, number>();

  private constructor(writer: Database, readers: ReadonlyMap<number, Database>) {
    const loops = [...readers].map(([id, reader]) => this.#read(id, reader));
    this.#done = Promise.all([this.#write(writer), ...loops]);
  }

  static async start(): Promise<Workload> {
    const readers = new Map<number, Database>();
    for (const { id } of cluster.addresses) readers.set(id, await cluster.client([id]));
    return new Workload(await cluster.client(), readers);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#done;
    expect(this.violations).toEqual([]);
  }

  async #write(writer: Database): Promise<void> {
    for (let i = 1; !this.#stop.signal.aborted; i++) {
      const key = `k${i % rows}`;
      const value = bytes(String(i).padEnd(1000));
      await writer.batch(
        { conditions: [], operations: [{ type: 'put', table: 't', key: bytes(key), value }] },
        { deadlineMs: 20_000 },
      );
      this.#acknowledged.set(key, i);
      this.writes++;
    }
    await writer.close();
  }

  async #read(id: number, reader: Database): Promise<void> {
    for (let i = 0; !this.#stop.signal.aborted; i++) {
      const key = `k${(i * 7) % rows}`;
      const least = this.#acknowledged.get(key) ?? 0;
      try {
        const value = await reader.get('t', bytes(key), { deadlineMs: 300 });
        const seen = value === undefined ? 0 : Number(Buffer.from(value).toString());
        if (seen < least) this.violations.push(`db ${id}: ${key} is ${seen}, ${least} was acknowledged`);
        this.reads.set(id, (this.reads.get(id) ?? 0) + 1);
      } catch (error) {
        if (!(error instanceof UnavailableError)) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    await reader.close();
  }
}

async function follower(): Promise<number> {
  const [server] = cluster.servers.values();
  await server!.ready(10_000);
  return server!.status().leader_id === 3 ? 2 : 3;
}

async function fileIn(directory: string, pattern: RegExp): Promise<string> {
  const names = (await readdir(directory)).filter((name) => pattern.test(name)).sort();
  return join(directory, names[0] ?? 'none');
}

async function flipInTheMiddle(file: string): Promise<void> {
  const content = await readFile(file);
  const at = Math.floor(content.length / 2);
  content[at] = (content[at] ?? 0) ^ 0x10;
  await writeFile(file, content);
}

async function stateOf(id: number): Promise<string> {
  return fileIn(cluster.directoryOf(id), /^state-/);
}

async function incarnation(id: number): Promise<string> {
  const text = await readFile(join(cluster.directoryOf(id), 'identity.json'), 'utf8');
  return (JSON.parse(text.split('\n')[0] ?? '') as { replicaId: string }).replicaId;
}

async function asideIn(id: number): Promise<string[]> {
  return (await readdir(cluster.directoryOf(id))).filter((name) => name.startsWith('damaged'));
}

/** Puts what the state's log holds into a table: Level does so at an open. */
async function intoTables(id: number): Promise<void> {
  const level = await openBytesLevel(await stateOf(id));
  await level.close();
}

const damages: Record<string, (id: number) => Promise<void>> = {
  'a flipped bit in the middle of its log': async (id) =>
    flipInTheMiddle(await fileIn(join(cluster.directoryOf(id), 'log'), /\.seg$/)),
  'its Level directory gone': async (id) => rm(await stateOf(id), { recursive: true }),
  'a flipped bit in a table of its Level': async (id) => {
    await intoTables(id);
    await flipInTheMiddle(await fileIn(await stateOf(id), /\.ldb$/));
  },
  'a table of its Level gone': async (id) => {
    await intoTables(id);
    await rm(await fileIn(await stateOf(id), /\.ldb$/));
  },
  'a flipped bit in the log of its Level': async (id) =>
    flipInTheMiddle(await fileIn(await stateOf(id), /\.log$/)),
  'its Raft log gone': async (id) => rm(join(cluster.directoryOf(id), 'log'), { recursive: true }),
  'a damaged identity': async (id) => flipInTheMiddle(join(cluster.directoryOf(id), 'identity.json')),
  'its identity gone': async (id) => rm(join(cluster.directoryOf(id), 'identity.json')),
  'its disk wiped': async (id) => rm(cluster.directoryOf(id), { recursive: true }),
};

async function voterAgain(id: number): Promise<void> {
  await until(
    'the newcomer votes',
    () => {
      const status = cluster.servers.get(id)?.status();
      return status?.role === 'follower' || status?.role === 'leader';
    },
    30_000,
  );
  await until('the old incarnation is gone everywhere', () =>
    [...cluster.servers.values()].every((one) => {
      const { voters, learners } = one.status();
      return learners.length === 0 && JSON.stringify(voters.toSorted()) === '[1,2,3]';
    }),
  );
}

describe('a replica with', { timeout: 240_000 }, () => {
  it.each(Object.entries(damages))('%s comes back by itself', async (what, damage) => {
    cluster = await TestCluster.start({ size: 3, ...compacting });
    const workload = await Workload.start();
    await until('there is something to lose', () => workload.writes > 150, 120_000);
    const id = await follower();
    await cluster.stopServer(id);
    const before = await incarnation(id);
    await damage(id);
    const readsBefore = workload.reads.get(id) ?? 0;
    await cluster.startServer(id);
    await voterAgain(id);
    expect(await incarnation(id)).not.toBe(before);
    expect(await asideIn(id)).toHaveLength(what === 'its disk wiped' ? 0 : 1);
    await until('it is read from', () => (workload.reads.get(id) ?? 0) > readsBefore + 20, 20_000);
    await workload.stop();
    // It counts: with another one away, the two are a majority.
    const other = [1, 2, 3].find(
      (one) => one !== id && cluster.servers.get(one)?.status().role !== 'leader',
    )!;
    await cluster.stopServer(other);
    const client = await cluster.client([id]);
    const put = { type: 'put' as const, table: 't', key: bytes('afterwards'), value: bytes('1') };
    await client.batch({ conditions: [], operations: [put] }, { deadlineMs: 15_000 });
    await client.close();
    expect(cluster.failures).toEqual([]);
  });
});

describe('a damaged replica', { timeout: 240_000 }, () => {
  it('makes its state anew from a log that has everything, and stays who it is', async () => {
    cluster = await TestCluster.start({ size: 1 });
    const client = await cluster.client();
    for (let i = 0; i < 30; i++) {
      const put = { type: 'put' as const, table: 't', key: bytes(`k${i}`), value: bytes(String(i)) };
      await client.batch({ conditions: [], operations: [put] });
    }
    await cluster.stopServer(1);
    const before = await incarnation(1);
    await flipInTheMiddle(await fileIn(await stateOf(1), /\.log$/));
    await cluster.startServer(1);
    expect(Buffer.from((await client.get('t', bytes('k29')))!).toString()).toBe('29');
    await cluster.stopServer(1);
    await rm(await stateOf(1), { recursive: true });
    await cluster.startServer(1);
    expect(Buffer.from((await client.get('t', bytes('k7')))!).toString()).toBe('7');
    expect(await incarnation(1)).toBe(before);
    await client.close();
  });

  it('that is the only one refuses to start, and nothing is changed', async () => {
    cluster = await TestCluster.start({ size: 1 });
    const client = await cluster.client();
    const put = { type: 'put' as const, table: 't', key: bytes('a'), value: bytes('1') };
    for (let i = 0; i < 10; i++) await client.batch({ conditions: [], operations: [put] });
    await cluster.stopServer(1);
    await flipInTheMiddle(await fileIn(join(cluster.directoryOf(1), 'log'), /\.seg$/));
    for (let attempt = 0; attempt < 2; attempt++) {
      await expect(cluster.startServer(1)).rejects.toThrow(/names no other \[\[db\]\] to rebuild it from/);
    }
    expect((await readdir(cluster.directoryOf(1))).toSorted()).toEqual([
      'identity.json',
      'log',
      'state-000001',
    ]);
    await client.close();
  });

  it('founds no new cluster with others that are damaged too, nor with empty ones', async () => {
    cluster = await TestCluster.start({ size: 3 });
    const client = await cluster.client();
    const put = { type: 'put' as const, table: 't', key: bytes('a'), value: bytes('1') };
    for (let i = 0; i < 10; i++) await client.batch({ conditions: [], operations: [put] });
    for (const id of [1, 2, 3]) await cluster.stopServer(id);
    await rm(cluster.directoryOf(1), { recursive: true });
    for (const id of [2, 3]) await damages['a flipped bit in the middle of its log']!(id);
    for (const id of [1, 2, 3]) await cluster.startServer(id);
    await expect(client.get('t', bytes('a'), { deadlineMs: 2500 })).rejects.toThrow(UnavailableError);
    for (const server of cluster.servers.values()) expect(server.status().role).toBe('forming');
    await client.close();
  });

  it('sets itself aside at the next start when the damage shows only while it runs', async () => {
    cluster = await TestCluster.start({ size: 3, ...compacting });
    const client = await cluster.client();
    for (let i = 0; i < 60; i++) {
      const key = i < 20 ? bytes('a') : bytes('b');
      const put = { type: 'put' as const, table: 't', key, value: bytes('value'.padEnd(1000)) };
      await client.batch({ conditions: [], operations: [put] });
    }
    const id = await follower();
    await cluster.stopServer(id);
    const level = await openBytesLevel(await stateOf(id));
    const key = encodeKey('t', bytes('a'));
    const stored = await level.get(key);
    await level.put(key, stored.with(stored.length - 1, 0));
    await level.close();
    const failed = new Promise<Error>((resolve) => {
      void cluster.startServer(id, { onFatal: resolve });
    });
    const through = await cluster.client([id]);
    await expect(through.get('t', bytes('a'), { deadlineMs: 2000 })).rejects.toThrow(UnavailableError);
    expect((await failed).message).toContain('fails its checksum');
    await cluster.stopServer(id);
    await cluster.startServer(id);
    await voterAgain(id);
    expect(
      Buffer.from((await through.get('t', bytes('a')))!)
        .toString()
        .trim(),
    ).toBe('value');
    expect(await asideIn(id)).toEqual(['damaged-000001']);
    await through.close();
    await client.close();
  });

  it('keeps the newest two of what was set aside', async () => {
    cluster = await TestCluster.start({ size: 3, ...compacting });
    const client = await cluster.client();
    const put = { type: 'put' as const, table: 't', key: bytes('a'), value: bytes('value') };
    for (let i = 0; i < 60; i++) await client.batch({ conditions: [], operations: [put] });
    for (let round = 0; round < 4; round++) {
      const id = 3;
      await cluster.stopServer(id);
      await damages['its identity gone']!(id);
      await cluster.startServer(id);
      await voterAgain(id);
    }
    expect(await asideIn(3)).toEqual(['damaged-000003', 'damaged-000004']);
    const log = await stat(join(cluster.directoryOf(3), 'damaged-000004', 'log'));
    expect(log.isDirectory()).toBe(true);
    await client.close();
  });
});
