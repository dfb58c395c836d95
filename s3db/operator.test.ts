import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import type { Call } from './client_endpoint.ts';
import { StorageFullError } from './errors.ts';
import { until } from './testing/driver_cluster.ts';
import { TestCluster } from './testing/test_cluster.ts';

let cluster: TestCluster;

afterEach(async () => {
  await cluster.close();
  expect(cluster.failures).toEqual([]);
});

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));

const get = (path: string): Omit<Call, 'headers'> => ({ method: 'GET', path });

it('status and metrics say what an operator needs, to those who sign', async () => {
  cluster = await TestCluster.start({ size: 3 });
  const client = await cluster.client();
  for (let i = 0; i < 20; i++) {
    const put = { type: 'put' as const, table: 't', key: bytes(`k${i}`), value: bytes('v') };
    await client.batch({ conditions: [], operations: [put] });
    await client.get('t', bytes(`k${i}`));
  }
  const leader = [...cluster.servers.values()].find((server) => server.status().role === 'leader')!;
  const { id } = leader.status();
  const down = id === 3 ? 2 : 3;
  await cluster.stopServer(down);
  await until('the free space is known', () => leader.status().disk.free_bytes !== null);
  await until('it is seen to be down', () =>
    leader.status().peers.some((peer) => peer.id === down && peer.connection === 'down'),
  );
  await client.batch({
    conditions: [],
    operations: [{ type: 'put', table: 't', key: bytes('more'), value: bytes('v') }],
  });
  const answer = await cluster.send(id, get('/status'));
  const status = JSON.parse(Buffer.from(answer.body).toString()) as ReturnType<typeof leader.status>;
  expect(status).toMatchObject({ id, role: 'leader', leader_id: id, failure: null });
  expect(status.cluster_id).toMatch(/^[0-9a-f]{32}$/);
  expect(status.log).toMatchObject({ durable_index: status.last_index, snapshot_index: 0, segments: 1 });
  expect(status.log.bytes).toBeGreaterThan(1000);
  expect(status.disk).toMatchObject({ reserve_bytes: 256 * 1024 * 1024 });
  expect(status.queue.writes_undecided).toBe(0);
  expect(Date.parse(status.state.log_time!)).toBeGreaterThan(Date.now() - 60_000);
  const gone = status.peers.find((peer) => peer.id === down)!;
  expect(gone).toMatchObject({ member: 'voter', connection: 'down', command_version: null });
  expect(gone.lag_entries).toBeGreaterThan(0);
  expect(gone.last_contact_ms).toBeGreaterThan(0);
  const there = status.peers.find((peer) => peer.id !== down)!;
  expect(there).toMatchObject({ member: 'voter', connection: 'up', lag_entries: 0, progress: 'replicate' });

  const text = Buffer.from((await cluster.send(id, get('/metrics'))).body).toString();
  expect(text).toContain(`s3d_db_role{db="${id}",role="leader"} 1`);
  expect(text).toMatch(new RegExp(`s3d_db_writes_total\\{db="${id}",outcome="applied"\\} \\d+`));
  expect(text).toContain(`s3d_db_peer_up{db="${id}",peer="${down}"} 0`);
  expect(text).toContain(`s3d_db_commit_index{db="${id}"} ${leader.status().commit_index}`);
  expect(text).toContain('s3d_db_write_seconds_bucket');
  expect((await cluster.send(id, get('/metrics'), { signed: false })).status).toBe(403);
  expect((await cluster.send(id, get('/status'), { signed: false })).status).toBe(403);
  await client.close();
});

it('leadership goes to the replica that is preferred, and comes back to it', async () => {
  cluster = await TestCluster.create({ size: 3 });
  const preference = { settleMs: 300, pauseMs: 500 };
  const start = (id: number) => cluster.startServer(id, { preferredLeaders: [2], preference });
  await Promise.all([1, 2, 3].map(start));
  const leads = (id: number): boolean =>
    [...cluster.servers.values()].every((server) => server.status().leader_id === id);
  await until('the preferred one leads', () => leads(2), 20_000);
  const client = await cluster.client();
  await cluster.stopServer(2);
  await until('another leads', () => leads(1) || leads(3), 20_000);
  await start(2);
  await until('the preferred one leads again', () => leads(2), 20_000);
  const { term } = cluster.servers.get(2)!.status();
  await new Promise((resolve) => setTimeout(resolve, 2000));
  expect(cluster.servers.get(2)!.status()).toMatchObject({ role: 'leader', term });
  await client.close();
});

/** A file system of its own, small; undefined where it can't be had. */
async function smallMount(sizeMiB: number): Promise<string | undefined> {
  const path = await mkdtemp(join(tmpdir(), 's3db-small-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${sizeMiB}m`, 'tmpfs', path], { stdio: 'pipe' });
    return path;
  } catch {
    await rm(path, { recursive: true });
    return undefined;
  }
}

it('below the reserve of free space writes are refused and deletes go on', async ({ skip }) => {
  const mount = await smallMount(48);
  cluster = await TestCluster.create({ size: 1 });
  if (mount === undefined) {
    skip('a file system cannot be mounted here');
    return;
  }
  try {
    const reserveBytes = 20 * 1024 * 1024;
    const small = { directory: join(mount, 'db'), reserveBytes, logSegmentBytes: 1024 * 1024 };
    const retention = { entries: 10, bytes: 64 * 1024 };
    const server = await cluster.startServer(1, { ...small, retention });
    const client = await cluster.client();
    const value = (i: number): Uint8Array =>
      new Uint8Array(Buffer.alloc(100_000, `${i} ${Math.random()}`)).map(() =>
        Math.floor(Math.random() * 256),
      );
    let written = 0;
    await expect(async () => {
      for (; written < 1000; written++) {
        const put = { type: 'put' as const, table: 't', key: bytes(`k${written}`), value: value(written) };
        await client.batch({ conditions: [], operations: [put] }, { deadlineMs: 10_000 });
        // The free space is looked at once a second.
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }).rejects.toThrow(StorageFullError);
    expect(written).toBeGreaterThan(50);
    await until('it says so', () => server.status().disk.low);
    for (let i = 0; i < written; i++) {
      await client.batch({
        conditions: [],
        operations: [{ type: 'delete', table: 't', key: bytes(`k${i}`) }],
      });
    }
    expect(await client.get('t', bytes('k1'))).toBeUndefined();
    expect((await client.scan({ table: 't', prefix: bytes(''), limit: 10 })).items).toEqual([]);
    expect(server.status()).toMatchObject({ role: 'leader', failure: null });
    await client.close();
    await cluster.stopServer(1);
  } finally {
    execFileSync('umount', [mount]);
    await rm(mount, { recursive: true });
  }
}, 60_000);
