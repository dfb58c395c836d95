import { rename, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { TestAuthority } from '../transport/testing/certificates.ts';
import { DatabaseClient } from './client.ts';
import type { Batch, Database } from './database.ts';
import { ConditionFailedError, UnavailableError, UnknownOutcomeError } from './errors.ts';
import { encodeKey, openBytesLevel } from './level_tables.ts';
import { until } from './testing/driver_cluster.ts';
import { TestCluster, testCredentials, testRegion } from './testing/test_cluster.ts';

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

async function leaderOf(): Promise<number> {
  const [server] = cluster.servers.values();
  if (server === undefined) throw new Error('no server runs');
  await server.ready(10_000);
  return server.status().leader_id!;
}

describe.each([undefined, 'http2'] as const)('three replicas over %s', (driver) => {
  const start = (): Promise<TestCluster> =>
    TestCluster.start({ size: 3, ...(driver === undefined ? {} : { driver }) });

  it('agree, and any of them serves reads and writes', async () => {
    cluster = await start();
    for (const { id } of cluster.addresses) {
      const client = await cluster.client([id]);
      await client.batch(put(`by-${id}`, String(id)));
      await client.close();
    }
    for (const { id } of cluster.addresses) {
      const client = await cluster.client([id]);
      expect(await Promise.all([1, 2, 3].map((writer) => read(client, `by-${writer}`)))).toEqual([
        '1',
        '2',
        '3',
      ]);
      await client.close();
    }
    const voters = [...cluster.servers.values()].map((server) => server.status().voters.toSorted());
    expect(voters).toEqual([
      [1, 2, 3],
      [1, 2, 3],
      [1, 2, 3],
    ]);
  });

  it('go on when the leader stops, and take it back', async () => {
    cluster = await start();
    const client = await cluster.client();
    await client.batch(put('a', '1'));
    const leader = await leaderOf();
    await cluster.stopServer(leader);
    await client.batch(put('a', '2'));
    expect(await read(client, 'a')).toBe('2');
    await cluster.startServer(leader);
    const back = await cluster.client([leader]);
    expect(await read(back, 'a')).toBe('2');
    await back.close();
    await client.close();
  });
});

describe('first boot', () => {
  const leadersSeen = (): number => [...cluster.servers.values()].filter((server) => server.healthy).length;

  it('founds no cluster until every configured replica has answered', async () => {
    cluster = await TestCluster.create({ size: 3 });
    await cluster.startServer(1);
    await cluster.startServer(2);
    const client = await cluster.client([1]);
    await expect(client.batch(put('a', '1'), { deadlineMs: 4000 })).rejects.toThrow(UnavailableError);
    expect([...cluster.servers.values()].map((server) => server.status().role)).toEqual([
      'forming',
      'forming',
    ]);
    await cluster.startServer(3);
    await client.batch(put('a', '1'), { deadlineMs: 10_000 });
    await client.close();
  });

  it('founds no cluster of replicas that are configured differently', async () => {
    cluster = await TestCluster.create({ size: 2 });
    await cluster.startServer(1);
    const moved = cluster.addresses.map((peer) => (peer.id === 1 ? { ...peer, host: 'localhost' } : peer));
    await cluster.startServer(2, { peers: moved });
    const client = await cluster.client();
    await expect(client.batch(put('a', '1'), { deadlineMs: 4000 })).rejects.toThrow('the deadline passed');
    expect(leadersSeen()).toBe(0);
    await client.close();
  });

  it('lets founders that were away at the birth come in later', async () => {
    cluster = await TestCluster.start({ size: 3 });
    const ids = new Set(
      [...cluster.servers.values()].map((server) => JSON.stringify(server.status().voters)),
    );
    expect(ids.size).toBe(1);
    await Promise.all([1, 2, 3].map((id) => cluster.stopServer(id)));
    await Promise.all([1, 2, 3].map((id) => cluster.startServer(id)));
    await until('all see a leader', () => leadersSeen() === 3);
  });

  it('refuses a directory of another id, and one whose log is gone', async () => {
    cluster = await TestCluster.start({ size: 1 });
    await cluster.stopServer(1);
    const directory = cluster.directoryOf(1);
    await expect(cluster.startServer(1, { id: 2, directory })).rejects.toThrow('a path of its own');
    await rm(join(directory, 'log'), { recursive: true });
    await expect(cluster.startServer(1)).rejects.toThrow('its log is gone');
  });
});

describe('a replica that lost its directory', () => {
  it('comes back as another, votes for nobody it may not, and catches up', async () => {
    cluster = await TestCluster.start({ size: 3, retention: { entries: 10, bytes: 1024 * 1024 } });
    const client = await cluster.client();
    for (let i = 0; i < 60; i++) await client.batch(put(`k${i % 7}`, `v${i}`));
    const lost = (await leaderOf()) === 3 ? 2 : 3;
    await cluster.stopServer(lost);
    await rm(cluster.directoryOf(lost), { recursive: true });
    await client.batch(put('meanwhile', '1'));
    const server = await cluster.startServer(lost);
    await until(
      'the newcomer votes',
      () => server.status().role === 'follower' && server.status().voters.length === 3,
      20_000,
    );
    await until('the old incarnation is gone everywhere', () =>
      [...cluster.servers.values()].every((one) => {
        const { voters, learners } = one.status();
        return learners.length === 0 && JSON.stringify(voters.toSorted()) === '[1,2,3]';
      }),
    );
    const through = await cluster.client([lost]);
    expect(await read(through, 'meanwhile')).toBe('1');
    expect(await read(through, 'k3')).toBe('v59');
    // It counts: with another one away, the two are a majority.
    const other = [1, 2, 3].find((id) => id !== lost)!;
    await cluster.stopServer(other);
    await through.batch(put('afterwards', '1'), { deadlineMs: 15_000 });
    await through.close();
    await client.close();
  });
});

describe('membership', () => {
  async function post(path: string, body: unknown): Promise<number> {
    const leader = cluster.addresses.find(({ id }) => id === cluster.servers.get(id)?.status().leader_id)!;
    const json = Buffer.from(JSON.stringify(body));
    const answer = await cluster.send(leader.id, { method: 'POST', path, body: json });
    return answer.status;
  }

  it('grows by a replica that was announced, and shrinks by one that leaves', async () => {
    cluster = await TestCluster.create({ size: 4 });
    const founders = cluster.addresses.slice(0, 3);
    const fourth = cluster.addresses[3]!;
    await Promise.all(founders.map(({ id }) => cluster.startServer(id, { peers: founders })));
    await leaderOf();
    const client = await cluster.client([1, 2, 3]);
    await client.batch(put('before', '1'));
    const newcomer = await cluster.startServer(4);
    await until('it finds the cluster', () => newcomer.status().role === 'learner');
    const { host, port, raftPort } = fourth;
    expect(await post('/v1/join', { id: 4, host, port, raft_port: raftPort })).toBe(200);
    await until('it is a voter', () => newcomer.status().role === 'follower', 20_000);
    expect(newcomer.status().voters.toSorted()).toEqual([1, 2, 3, 4]);
    const through = await cluster.client([4]);
    expect(await read(through, 'before')).toBe('1');
    await through.batch(put('by-4', '1'));
    await through.close();
    // All know it after a restart too, though their configuration doesn't name it.
    const follower = founders.find(({ id }) => id !== newcomer.status().leader_id)!.id;
    await cluster.stopServer(follower);
    const again = await cluster.startServer(follower, { peers: founders });
    await again.ready(10_000);
    await until('its name is known', () => again.status().voters.includes(4));
    expect(await post('/v1/leave', { id: follower })).toBe(200);
    await until('it is gone', () => newcomer.status().voters.length === 3);
    await cluster.stopServer(follower);
    expect(await read(client, 'by-4')).toBe('1');
    await client.close();
  });

  it('hands leadership over on request', async () => {
    cluster = await TestCluster.start({ size: 3 });
    const leader = await leaderOf();
    const to = [1, 2, 3].find((id) => id !== leader)!;
    expect(await post('/v1/transfer', { id: to })).toBe(200);
    await until('it leads', () => cluster.servers.get(to)!.status().role === 'leader');
    expect(await post('/v1/transfer', { id: 99 })).toBe(400);
  });

  it('tells an incarnation that was replaced to step aside', async () => {
    cluster = await TestCluster.start({ size: 3 });
    const lost = (await leaderOf()) === 3 ? 2 : 3;
    await cluster.stopServer(lost);
    await rename(cluster.directoryOf(lost), join(cluster.directory, 'old'));
    const successor = await cluster.startServer(lost);
    await until('the newcomer votes', () => successor.status().role === 'follower', 20_000);
    await cluster.stopServer(lost);
    const failed = new Promise<Error>((resolve) => {
      void cluster.startServer(lost, { directory: join(cluster.directory, 'old'), onFatal: resolve });
    });
    expect((await failed).message).toContain('another replica in the place of this one');
    await until('the others go on', () =>
      [...cluster.servers.values()].some((server) => server.status().role === 'leader'),
    );
    const client = await cluster.client([1, 2, 3].filter((id) => id !== lost));
    await client.batch(put('a', '1'));
    await client.close();
  });

  it('stops a replica whose state is damaged', async () => {
    cluster = await TestCluster.start({ size: 1 });
    const client = await cluster.client();
    await client.batch(put('a', 'value'));
    await cluster.stopServer(1);
    const level = await openBytesLevel(join(cluster.directoryOf(1), 'state-000001'));
    const key = encodeKey('t', bytes('a'));
    const stored = await level.get(key);
    await level.put(key, stored.with(stored.length - 1, 0));
    await level.close();
    const failed = new Promise<Error>((resolve) => {
      void cluster.startServer(1, { onFatal: resolve });
    });
    await expect(client.get('t', bytes('a'), { deadlineMs: 2000 })).rejects.toThrow(UnavailableError);
    expect((await failed).message).toContain('fails its checksum');
    expect(cluster.servers.get(1)!.healthy).toBe(false);
    await client.close();
  });
});

describe('DatabaseClient', () => {
  it('works with any one replica gone', async () => {
    cluster = await TestCluster.start({ size: 3 });
    const client = await cluster.client();
    for (const { id } of cluster.addresses) {
      await cluster.stopServer(id);
      await client.batch(put(`without-${id}`, '1'), { deadlineMs: 10_000 });
      expect(await read(client, `without-${id}`)).toBe('1');
      await cluster.startServer(id);
      await until('all are back', () => [...cluster.servers.values()].every((server) => server.healthy));
    }
    await client.close();
  });

  it('asks another replica when one accepts connections and then is silent', async () => {
    cluster = await TestCluster.start({ size: 3 });
    const stopped = cluster.addresses[0]!;
    await cluster.stopServer(stopped.id);
    const sockets = new Set<Socket>();
    const silent = createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => undefined);
    });
    await new Promise<void>((resolve) => silent.listen(stopped.port, stopped.host, resolve));
    const client = await cluster.client();
    for (let i = 0; i < 10; i++) {
      await client.batch(put(`k${i}`, '1'));
      expect(await read(client, `k${i}`)).toBe('1');
    }
    await client.close();
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => silent.close(resolve));
  });

  it('says that nothing was applied when nobody could be reached', async () => {
    cluster = await TestCluster.start({ size: 1 });
    const client = await cluster.client();
    await cluster.stopServer(1);
    await expect(client.batch(put('a', '1'), { deadlineMs: 300 })).rejects.toThrow(UnavailableError);
    await expect(client.get('t', bytes('a'), { deadlineMs: 300 })).rejects.toThrow(UnavailableError);
    await client.close();
  });

  it('says that the outcome is unknown when the answer to a write did not come', async () => {
    cluster = await TestCluster.start({ size: 3 });
    const leader = await leaderOf();
    const client = await cluster.client([leader]);
    await client.batch(put('a', '1'));
    for (const { id } of cluster.addresses) if (id !== leader) await cluster.stopServer(id);
    await expect(client.batch(put('a', '2'), { deadlineMs: 400 })).rejects.toThrow(UnknownOutcomeError);
    await client.close();
  });

  it('gives up when its signal says so', async () => {
    cluster = await TestCluster.create({ size: 2 });
    await cluster.startServer(1);
    const client = await cluster.client([1]);
    const given = AbortSignal.timeout(100);
    await expect(client.get('t', bytes('a'), { signal: given })).rejects.toThrow('timeout');
    await client.close();
  });

  it('trusts no certificate of another authority, and is let in with no other secret', async () => {
    cluster = await TestCluster.start({ size: 1 });
    const options = {
      endpoints: [{ host: '127.0.0.1', port: cluster.addresses[0]!.port, servername: 'db-1.test.s3d' }],
      region: testRegion,
      ...testCredentials,
    };
    const stranger = await DatabaseClient.open({ ...options, ca: new TestAuthority().ca });
    await expect(stranger.get('t', bytes('a'), { deadlineMs: 300 })).rejects.toThrow(UnavailableError);
    const { ca } = cluster.authority;
    const wrong = await DatabaseClient.open({ ...options, ca, secretAccessKey: 'wrong' });
    await expect(wrong.get('t', bytes('a'))).rejects.toThrow('403');
    await Promise.all([stranger.close(), wrong.close()]);
  });
});
