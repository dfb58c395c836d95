import { afterEach, describe, expect, it, test } from 'vitest';
import { BackupDamagedError, decodeBackup, encodeBackup, type BackupRow } from './backup_file.ts';
import type { Call } from './client_endpoint.ts';
import { encodeBatch } from './command.ts';
import { UnavailableError } from './errors.ts';
import { auditHalted, restoreIdOf } from './restore.ts';
import { TestCluster } from './testing/test_cluster.ts';

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
const head = {
  cluster: 'a'.repeat(32),
  index: 9,
  term: 2,
  logTime: null,
  created: '2026-01-01T00:00:00.000Z',
};

async function* from<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items;
}

async function encoded(rows: readonly BackupRow[]): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of encodeBackup(head, from(rows))) pieces.push(piece);
  return Buffer.concat(pieces);
}

describe('the form of a backup', () => {
  const rows: BackupRow[] = Array.from({ length: 40 }, (_, i) => [
    bytes(`t\0key ${i}`),
    bytes('v'.repeat(i * 10)),
  ]);

  test('gives back what was put in, in pieces of any size', async () => {
    const file = await encoded(rows);
    for (const size of [1, 7, 1000, file.length]) {
      const pieces: Uint8Array[] = [];
      for (let at = 0; at < file.length; at += size) pieces.push(file.subarray(at, at + size));
      const found: BackupRow[] = [];
      const backup = await decodeBackup(from(pieces), {
        rows: async (some) =>
          void found.push(...some.map(([k, v]): BackupRow => [new Uint8Array(k), new Uint8Array(v)])),
      });
      expect(backup).toMatchObject({ ...head, rows: 40 });
      expect(found).toEqual(rows);
    }
  });

  test('lets no flipped bit and no lost end pass', async () => {
    const file = await encoded(rows.slice(0, 3));
    for (let at = 0; at < file.length; at++) {
      const flipped = Buffer.from(file);
      flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8));
      await expect(decodeBackup(from([flipped])), `byte ${at}`).rejects.toThrow(BackupDamagedError);
      await expect(decodeBackup(from([file.subarray(0, at)]))).rejects.toThrow(BackupDamagedError);
    }
    await expect(decodeBackup(from([file, file]))).rejects.toThrow('behind its end');
  });
});

describe('backup and restore over REST', { timeout: 60_000 }, () => {
  let cluster: TestCluster;

  afterEach(async () => {
    await cluster.close();
  });

  /** To whoever leads now. */
  async function lead(path: string, body: Buffer | object): Promise<[number, string]> {
    for (;;) {
      const server = [...cluster.servers.values()].find((one) => one.status().role === 'leader');
      if (server === undefined) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        continue;
      }
      const call = {
        method: 'POST',
        path,
        body: Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body)),
      };
      const answer = await cluster.send(server.status().id, call as Omit<Call, 'headers'>);
      if (answer.status !== 503) return [answer.status, Buffer.from(answer.body).toString()];
    }
  }

  const put = (key: string, value: string) => ({
    type: 'put' as const,
    table: 'objects',
    key: bytes(key),
    value: bytes(value),
  });

  it('serves nothing while a restore is not finished, goes on with it, and checks what came', async () => {
    cluster = await TestCluster.start({ size: 3 });
    const client = await cluster.client();
    const rows = Array.from({ length: 30 }, (_, i) => put(`k${String(i).padStart(2, '0')}`, `v${i}`));
    await client.batch({ conditions: [], operations: rows });
    const file = Buffer.from((await cluster.send(1, { method: 'GET', path: '/v1/backup' })).body);
    const backup = await decodeBackup(from([file]));
    expect(backup.rows).toBe(30);
    const id = restoreIdOf(backup.contents);
    expect((await lead('/v1/restore/begin', { id }))[1]).toContain('the database is not empty');
    await client.batch({
      conditions: [],
      operations: rows.map(({ table, key }) => ({ type: 'delete' as const, table, key })),
    });

    expect(await lead('/v1/restore/begin', { id })).toEqual([200, '{"parts":0}']);
    expect(await lead('/v1/restore/begin', { id })).toEqual([200, '{"parts":0}']);
    expect((await lead('/v1/restore/begin', { id: '0'.repeat(32) }))[0]).toBe(400);
    const part = (number: number, operations: typeof rows): Promise<[number, string]> =>
      lead(`/v1/restore/part/${id}/${number}`, Buffer.from(encodeBatch({ conditions: [], operations })));
    expect((await part(0, rows.slice(0, 20)))[0]).toBe(200);
    expect((await part(0, rows.slice(0, 20)))[0]).toBe(200);
    expect((await part(2, rows.slice(20)))[1]).toContain('part 1 is next');

    await expect(client.get('objects', bytes('k01'), { deadlineMs: 800 })).rejects.toThrow(UnavailableError);
    await expect(
      client.batch({ conditions: [], operations: [put('x', 'y')] }, { deadlineMs: 4000 }),
    ).rejects.toThrow('restore');
    expect((await cluster.send(2, { method: 'GET', path: '/v1/backup' })).status).toBe(503);
    expect(cluster.servers.get(1)!.status().state.restoring).toBe(true);

    const finish = { id, rows: backup.rows, contents: backup.contents };
    expect((await lead('/v1/restore/finish', finish))[1]).toContain('the database holds 20 rows');
    const leader = cluster.servers.get(1)!.status().leader_id!;
    await cluster.stopServer(leader);
    expect(await lead('/v1/restore/begin', { id })).toEqual([200, '{"parts":1}']);
    await cluster.startServer(leader);
    expect((await part(1, rows.slice(20)))[0]).toBe(200);
    expect((await lead('/v1/restore/finish', finish))[0]).toBe(200);
    expect((await lead('/v1/restore/finish', finish))[0]).toBe(200);
    expect((await client.scan({ table: 'objects', prefix: bytes(''), limit: 100 })).items).toHaveLength(30);
    expect(await client.get('state', auditHalted.key)).toBeDefined();
    await client.close();
    expect(cluster.failures).toEqual([]);
  });
});
