import { execFile } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DatabaseClient } from '../../s3db/client.ts';
import type { Database } from '../../s3db/database.ts';
import { ServerProcess } from '../../tests/cluster/server_process.ts';
import { testRegion, writeTestConfig, type TestConfig } from '../../tests/cluster/test_config.ts';
import { certificateName } from '../../transport/peer_name.ts';
import { loadClusterSecret } from '../certificates/cluster_secret.ts';
import { loadConfig } from '../config/load.ts';
import { exitCodes, UsageError } from '../errors.ts';
import { databaseCommand } from './command.ts';

const binary = fileURLToPath(new URL('../../bin/s3d', import.meta.url));

let config: TestConfig;
let processes: Map<number, ServerProcess>;

beforeEach(async () => {
  config = await writeTestConfig({ nodes: 0, databases: 3 });
  processes = new Map();
  await s3d('certs');
}, 60_000);

afterEach(async () => {
  await Promise.all([...processes.keys()].map((id) => stop(id)));
  await config.remove();
}, 60_000);

/** Runs `s3d` to its end. */
async function s3d(...args: readonly string[]): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    execFile(
      binary,
      [...args, '-config', config.file],
      { timeout: 90_000, cwd: config.directory },
      (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : Number(error.code), output: stdout + stderr });
      },
    );
  });
}

/** `s3d admin db` within this process: against real ones, without the time that a start takes. */
async function admin(...args: readonly string[]): Promise<{ code: number; output: string }> {
  const lines: string[] = [];
  try {
    const code = await databaseCommand([...args, '-config', config.file], (line) => lines.push(`${line}\n`));
    return { code, output: lines.join('') };
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    return { code: exitCodes.config, output: `${lines.join('')}${error.message}\n` };
  }
}

async function start(...ids: readonly number[]): Promise<void> {
  await mkdir(config.basePath, { recursive: true });
  await Promise.all(
    ids.map(async (id) => {
      const server = await ServerProcess.start({
        name: `db-${id}`,
        args: ['-db', '-config', config.file, '-db-node', String(id)],
        logFile: join(config.basePath, `db-${id}.log`),
        readyMs: 150_000,
      });
      processes.set(id, server);
    }),
  );
}

async function stop(id: number, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  await processes.get(id)?.kill(signal);
  processes.delete(id);
}

const directoryOf = (id: number): string => join(config.basePath, `db/node-${id}`);

async function connect(ids: readonly number[] = [1, 2, 3]): Promise<Database> {
  const { db } = await loadConfig(config.file);
  const { clusterId } = await loadClusterSecret(join(config.basePath, 'cluster.secret'));
  return DatabaseClient.open({
    endpoints: db
      .filter(({ id }) => ids.includes(id))
      .map(({ id, host, port }) => ({ host, port, servername: certificateName(`db-${id}`, clusterId) })),
    ca: await readFile(join(config.basePath, 'certs/ca.pem')),
    region: testRegion,
    accessKeyId: 'test-db-key',
    secretAccessKey: 'test-db-secret-key',
    defaultDeadlineMs: 20_000,
  });
}

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));

async function fill(database: Database, rows: number): Promise<void> {
  for (let from = 0; from < rows; from += 500) {
    const operations = Array.from({ length: Math.min(500, rows - from) }, (_, i) => ({
      type: 'put' as const,
      table: from % 1000 === 0 ? 'objects' : 'buckets',
      key: bytes(`key-${from + i}\0\u00ff`),
      value: bytes(`value ${from + i} `.repeat(1 + ((from + i) % 50))),
    }));
    await database.batch({ conditions: [], operations });
  }
}

async function contentsOf(database: Database): Promise<Map<string, string>> {
  const contents = new Map<string, string>();
  for (const table of ['buckets', 'objects', 'state']) {
    let startAfter: Uint8Array | undefined;
    for (;;) {
      const place = startAfter === undefined ? {} : { startAfter };
      const page = await database.scan({ table, prefix: bytes(''), limit: 5000, ...place });
      for (const { key, value } of page.items) {
        contents.set(`${table} ${Buffer.from(key).toString('hex')}`, Buffer.from(value).toString('hex'));
      }
      if (page.next === undefined) break;
      startAfter = page.next;
    }
  }
  return contents;
}

const halted = `state ${Buffer.from('cluster:audit:halted').toString('hex')}`;

describe('s3d admin db', { timeout: 400_000 }, () => {
  test('status, transfer, snapshot, leave and join', async () => {
    await start(1, 2, 3);
    const healthy = await s3d('admin', 'db', 'status');
    expect(healthy.output).not.toContain('!');
    expect(healthy).toMatchObject({ code: 0 });
    const leader = Number(/^(\d) +leader/m.exec(healthy.output)?.[1]);
    const other = leader === 1 ? 2 : 1;
    expect(await admin('transfer', String(other))).toMatchObject({ code: 0, output: `db ${other} leads\n` });
    expect((await admin('status')).output).toMatch(new RegExp(`^${other} +leader`, 'm'));
    expect(await admin('transfer', '9')).toMatchObject({ code: 1, output: 's3d: there is no db 9\n' });
    const snapshot = await admin('snapshot');
    expect(snapshot.code).toBe(0);
    expect(snapshot.output.match(/^db \d: the log begins behind entry \d+$/gm)).toHaveLength(3);

    const leaving = 3;
    expect((await admin('leave', String(leaving))).output).toContain('is no member any more');
    await stop(leaving);
    const degraded = await admin('status');
    expect(degraded.code).toBe(1);
    expect(degraded.output).toContain(`! db ${leaving} does not answer`);
    await rm(directoryOf(leaving), { recursive: true });
    expect((await admin('join', String(leaving))).output).toContain('is announced at 127.0.0.1:');
    await start(leaving);
    await expect.poll(async () => (await admin('status')).code, { timeout: 40_000, interval: 500 }).toBe(0);
    expect((await admin('join', '9')).output).toContain('give -address HOST:PORT');
    expect((await admin('frobnicate')).code).toBe(78);
  });

  test('a backup brings back all, into an empty database only', async () => {
    await start(1, 2, 3);
    const client = await connect();
    await fill(client, 12_000);
    const before = await contentsOf(client);
    expect(before.size).toBe(12_000);
    const file = join(config.directory, 'backup');
    const made = await admin('backup', file);
    expect(made.output).toMatch(/: 12000 rows up to entry \d+, contents [0-9a-f]{64}\n$/);
    expect((await admin('backup', file)).output).toContain('is there already');
    const digest = /contents ([0-9a-f]{64})/.exec(made.output)?.[1] ?? 'none';
    expect((await admin('verify', file)).output).toContain(`sound: 12000 rows, contents ${digest}`);
    expect((await admin('restore', file)).output).toContain('the database is not empty');
    await client.close();

    const content = await readFile(file);
    const damaged = join(config.directory, 'damaged');
    await writeFile(damaged, content.subarray(0, -1));
    expect((await admin('verify', damaged)).output).toContain('the backup is damaged');

    for (const id of [1, 2, 3]) {
      await stop(id);
      await rm(directoryOf(id), { recursive: true });
    }
    await start(1, 2, 3);
    const restored = await connect();
    expect((await admin('restore', damaged)).code).toBe(1);
    expect((await contentsOf(restored)).size).toBe(0);
    const done = await admin('restore', file);
    expect(done.output).toContain('12000 rows of ');
    expect(done.code).toBe(0);
    const after = await contentsOf(restored);
    expect(after.get(halted)).toBeDefined();
    after.delete(halted);
    expect(after).toEqual(before);
    // And again by the digest of a second backup.
    const key = Buffer.from('cluster:audit:halted');
    await restored.batch({ conditions: [], operations: [{ type: 'delete', table: 'state', key }] });
    expect((await admin('backup', join(config.directory, 'again'))).output).toContain(digest);
    await restored.close();
  });

  test('recover makes a new quorum of a survivor', async () => {
    await start(1, 2, 3);
    const client = await connect();
    await fill(client, 2000);
    const before = await contentsOf(client);
    expect((await admin('recover', '-yes')).output).toContain('in use by another process');
    await client.close();
    for (const id of [1, 2, 3]) await stop(id, 'SIGKILL');
    expect(await admin('recover', '-yes')).toMatchObject({
      code: 78,
      output: expect.stringContaining('3 of 3 voters are here, a majority') as string,
    });
    for (const id of [1, 3]) await rm(directoryOf(id), { recursive: true });
    const refused = await admin('recover');
    expect(refused.output).toMatch(
      /^db 2: last entry \d+ of term \d+, known to be committed up to \d+, last write 20/,
    );
    expect(refused.output).toContain('is lost, also if it was acknowledged');
    expect(refused.output).toContain('-yes is needed');
    const done = await admin('recover', '-yes');
    expect(done.output).toContain('db 2 is the only voter of a new cluster');
    expect(done.code).toBe(0);
    await start(2);
    const alone = await connect([2]);
    const after = await contentsOf(alone);
    expect(after.get(halted)).toBeDefined();
    after.delete(halted);
    expect(after).toEqual(before);
    await start(1, 3);
    await expect.poll(async () => (await admin('status')).code, { timeout: 40_000, interval: 500 }).toBe(0);
    await stop(2);
    const others = await connect([1, 3]);
    expect((await contentsOf(others)).size).toBe(2001);
    await fill(others, 10);
    await Promise.all([alone.close(), others.close()]);
  });
});
