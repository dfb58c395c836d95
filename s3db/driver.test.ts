import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Batch } from './database.ts';
import { LeadershipLostError, NotLeaderError, ReplicaFailedError } from './driver_errors.ts';
import type { RaftStorage } from './driver_ports.ts';
import { UnavailableError, UnknownOutcomeError } from './errors.ts';
import { mintRequestId } from './request_id.ts';
import { DriverCluster, until } from './testing/driver_cluster.ts';

let cluster: DriverCluster;

afterEach(() => cluster.close());

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
const put = (key: string, value: string): Batch => ({
  conditions: [],
  operations: [{ type: 'put', table: 't', key: bytes(key), value: bytes(value) }],
});
const putNew = (key: string, value: string): Batch => ({
  ...put(key, value),
  conditions: [{ table: 't', key: bytes(key), exists: false }],
});

describe('RaftDriver', () => {
  it('replicates to all, and every replica reads what was acknowledged', async () => {
    cluster = await DriverCluster.start(3);
    const leader = await cluster.leader();
    const outcomes = await Promise.all(
      Array.from({ length: 200 }, (_, i) => cluster.write(leader, put(`k${i % 50}`, `v${i}`))),
    );
    expect(outcomes.every((outcome) => outcome.kind === 'applied')).toBe(true);
    for (const id of cluster.ids) expect(await cluster.read(id, 'k49')).toBe('v199');
    expect((await cluster.digests()).size).toBe(1);
  });

  it('refuses proposals where it does not lead', async () => {
    cluster = await DriverCluster.start(3);
    const leader = await cluster.leader();
    const follower = cluster.ids.find((id) => id !== leader)!;
    await expect(cluster.write(follower, put('a', '1'))).rejects.toThrow(NotLeaderError);
  });

  it('writes proposals that come together in one append', async () => {
    cluster = await DriverCluster.start(1);
    await cluster.stopReplica(1n);
    const sizes: number[] = [];
    await cluster.startReplica(1n, (storage) => ({
      append: (batch) => {
        sizes.push(batch.entries.length);
        return storage.append(batch);
      },
      restart: (...args) => storage.restart(...args),
      compact: (upTo) => storage.compact(upTo),
    }));
    await cluster.leader();
    sizes.length = 0;
    await Promise.all(Array.from({ length: 100 }, (_, i) => cluster.write(1n, put(`k${i}`, 'v'))));
    expect(Math.max(...sizes)).toBe(100);
  });

  it('shares a round among the reads that wait', async () => {
    cluster = await DriverCluster.start(3);
    const leader = await cluster.leader();
    await cluster.write(leader, put('a', '1'));
    const before = cluster.sent.length;
    await Promise.all(Array.from({ length: 300 }, () => cluster.read(leader, 'a')));
    const nonces = new Set(
      cluster.sent.slice(before).map((message) => (message.type === 'heartbeat' ? message.nonce : 0)),
    );
    expect(nonces.size).toBeLessThan(30);
  });

  describe('on a follower', () => {
    const started = async (): Promise<{ leader: bigint; follower: bigint; startTime: () => void }> => {
      cluster = await DriverCluster.start(3);
      const leader = await cluster.leader();
      const follower = cluster.ids.find((id) => id !== leader)!;
      await cluster.write(leader, put('a', 'before'));
      await cluster.digests();
      return { leader, follower, startTime: cluster.stopTime(follower) };
    };
    const writeOneByOne = async (leader: bigint, count: number): Promise<void> => {
      for (let i = 0; i < count; i++) await cluster.write(leader, put('a', String(i)));
    };

    it('gathers what is committed until a tick, and applies it in few rounds', async () => {
      const { leader, follower, startTime } = await started();
      const { driver, state } = cluster.get(follower);
      const apply = vi.spyOn(state, 'apply');
      await writeOneByOne(leader, 30);
      await until('it has committed most', () => driver.status().commit >= driver.status().lastIndex - 1);
      expect(apply).not.toHaveBeenCalled();
      startTime();
      expect((await cluster.digests()).size).toBe(1);
      expect(apply.mock.calls.length).toBeLessThan(10);
    });

    it('applies without a tick once much has gathered', async () => {
      const { leader, follower } = await started();
      const { state } = cluster.get(follower);
      const before = state.applied.index;
      await writeOneByOne(leader, 130);
      await until('it has applied some', () => state.applied.index >= before + 64);
    });

    it('applies at once what a read waits for', async () => {
      const { leader, follower } = await started();
      await writeOneByOne(leader, 5);
      expect(await cluster.read(follower, 'a')).toBe('4');
    });
  });

  it('sends entries before it writes them, so that all disks write at the same time', async () => {
    cluster = await DriverCluster.start(3);
    const leader = await cluster.leader();
    await cluster.write(leader, put('a', '0'));
    const order: string[] = [];
    const { storage } = cluster.get(leader);
    const append = storage.append.bind(storage);
    vi.spyOn(storage, 'append').mockImplementation((batch) => {
      order.push('written here');
      return append(batch);
    });
    for (const id of cluster.ids.filter((other) => other !== leader)) {
      const { driver } = cluster.get(id);
      const step = driver.step.bind(driver);
      vi.spyOn(driver, 'step').mockImplementation((message) => {
        if (message.type === 'append' && message.entries.length > 0) order.push('received');
        step(message);
      });
    }
    await cluster.write(leader, put('a', '1'));
    expect(order.slice(0, 3)).toEqual(['received', 'received', 'written here']);
  });

  it('commits nothing in a minority, and drops what was proposed there', async () => {
    cluster = await DriverCluster.start(3);
    const old = await cluster.leader();
    await cluster.write(old, put('a', 'before'));
    const others = cluster.ids.filter((id) => id !== old);
    cluster.partition([old], others);
    const lost = cluster.write(old, put('a', 'minority'), { timeoutMs: 400 });
    await expect(lost).rejects.toSatisfy(
      (error) => error instanceof LeadershipLostError || error instanceof UnknownOutcomeError,
    );
    const leader = await cluster.leader(others);
    await cluster.write(leader, put('a', 'majority'));
    expect(
      await cluster.read(
        others.find((id) => id !== leader)!,
        'a',
      ),
    ).toBe('majority');
    cluster.heal();
    await cluster.leader();
    expect(await cluster.read(old, 'a')).toBe('majority');
    expect((await cluster.digests()).size).toBe(1);
  });

  it('answers no linearizable read from a leader that was cut off', async () => {
    cluster = await DriverCluster.start(3);
    const old = await cluster.leader();
    await cluster.write(old, put('a', '1'));
    const others = cluster.ids.filter((id) => id !== old);
    cluster.partition([old], others);
    const early = cluster.read(old, 'a', 300);
    early.catch(() => undefined);
    const leader = await cluster.leader(others);
    await cluster.write(leader, put('a', '2'));
    await expect(early).rejects.toThrow();
    await expect(cluster.read(old, 'a', 300)).rejects.toThrow();
    cluster.heal();
    await cluster.leader();
    expect(await cluster.read(old, 'a')).toBe('2');
  });

  it('applies a write once however often it is given to whichever leader', async () => {
    cluster = await DriverCluster.start(3);
    const requestId = mintRequestId(Date.now());
    const batch = putNew('once', '1');
    const leader = await cluster.leader();
    const first = await cluster.write(leader, batch, { requestId });
    expect(await cluster.write(leader, batch, { requestId })).toEqual(first);
    await cluster.stopReplica(leader);
    const next = await cluster.leader();
    expect(await cluster.write(next, batch, { requestId })).toEqual(first);
    expect(await cluster.write(next, batch)).toEqual({ kind: 'conditionFailed', condition: 0 });
    expect(await cluster.write(next, put('once', 'other'), { requestId })).toEqual({ kind: 'idReused' });
  });

  it('keeps what was acknowledged when all replicas restart', async () => {
    cluster = await DriverCluster.start(3);
    for (let round = 1; round <= 3; round++) {
      const leader = await cluster.leader();
      await Promise.all(
        Array.from({ length: 20 }, (_, i) => cluster.write(leader, put(`k${i}`, `r${round}`))),
      );
      for (const id of cluster.ids) await cluster.stopReplica(id);
      for (const id of cluster.ids) await cluster.startReplica(id);
    }
    await cluster.leader();
    for (const id of cluster.ids) expect(await cluster.read(id, 'k19')).toBe('r3');
    expect((await cluster.digests()).size).toBe(1);
  });

  it('compacts its log and brings a replica that missed it up with a snapshot', async () => {
    cluster = await DriverCluster.start(3, { retention: { entries: 20, bytes: 1024 * 1024 } });
    const leader = await cluster.leader();
    const away = cluster.ids.find((id) => id !== leader)!;
    await cluster.write(leader, put('gone', '1'));
    await cluster.stopReplica(away);
    for (let i = 0; i < 30; i++) {
      await Promise.all(Array.from({ length: 10 }, (_, k) => cluster.write(leader, put(`k${k}`, `v${i}`))));
    }
    await cluster.write(leader, {
      conditions: [],
      operations: [{ type: 'delete', table: 't', key: bytes('gone') }],
    });
    expect(cluster.get(leader).driver.status().firstIndex).toBeGreaterThan(100);
    cluster.sent.length = 0;
    await cluster.startReplica(away);
    await cluster.leader();
    expect(await cluster.read(away, 'k9')).toBe('v29');
    expect(await cluster.read(away, 'gone')).toBeUndefined();
    expect((await cluster.digests()).size).toBe(1);
    // What came by snapshot survives a restart, and the log goes on behind it.
    await cluster.write(leader, put('later', '1'));
    await cluster.digests();
    await cluster.stopReplica(away);
    await cluster.startReplica(away);
    await cluster.leader();
    expect(await cluster.read(away, 'later')).toBe('1');
    expect((await cluster.digests()).size).toBe(1);
  });

  it('stops for good at the first error of its log, and the others go on', async () => {
    cluster = await DriverCluster.start(3);
    const victim = await cluster.leader();
    await cluster.stopReplica(victim);
    let broken = false;
    const breakable = (storage: RaftStorage): RaftStorage => ({
      append: (batch) => (broken ? Promise.reject(new Error('EIO')) : storage.append(batch)),
      restart: (...args) => storage.restart(...args),
      compact: (upTo) => storage.compact(upTo),
    });
    await cluster.startReplica(victim, breakable);
    await cluster.leader();
    const { driver } = cluster.get(victim);
    const current = await cluster.leader();
    if (current !== victim) {
      cluster.get(current).driver.transferLeadership(victim);
      await until('the victim leads', () => driver.status().role === 'leader');
    }
    broken = true;
    const write = cluster.write(victim, put('a', '1'));
    await expect(write).rejects.toThrow(UnknownOutcomeError);
    expect(cluster.failures.get(victim)).toBeInstanceOf(ReplicaFailedError);
    await expect(cluster.write(victim, put('a', '1'))).rejects.toThrow(ReplicaFailedError);
    await expect(cluster.read(victim, 'a')).rejects.toThrow(ReplicaFailedError);
    const others = cluster.ids.filter((id) => id !== victim);
    await until('another leader', () =>
      others.some((id) => cluster.get(id).driver.status().role === 'leader'),
    );
    const leader = await cluster.leader(others);
    expect(await cluster.write(leader, put('a', '2'))).toMatchObject({ kind: 'applied' });
  });

  it('refuses what waits at its deadline, and says whether it may yet be applied', async () => {
    cluster = await DriverCluster.start(3);
    const leader = await cluster.leader();
    cluster.partition([leader]);
    const write = cluster.write(leader, put('a', '1'), { timeoutMs: 30 });
    const read = cluster.read(leader, 'a', 30);
    await expect(write).rejects.toThrow(UnknownOutcomeError);
    await expect(read).rejects.toThrow(UnavailableError);
  });
});
