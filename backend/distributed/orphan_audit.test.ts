import { randomBytes } from 'node:crypto';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { UnavailableError } from '../../s3db/errors.ts';
import { systemClock } from '../clock.ts';
import { encodeContent } from '../engine/rows.ts';
import { EngineContentIndex } from './content_index.ts';
import { epochPrefix, Epochs } from './epochs.ts';
import { decodeLocator } from './locator.ts';
import {
  auditApprovedKey,
  auditHaltedKey,
  auditReportKey,
  decodeReport,
  OrphanAudit,
  type AuditReport,
} from './orphan_audit.ts';
import { BytePace } from './pace.ts';
import { defaultTiming } from './ports.ts';
import { chunks, openCluster, quickTiming, shardCount, type TestCluster } from './testing/cluster.ts';
import { ManualClock } from './testing/manual_clock.ts';

const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };
const { signal } = new AbortController();
const keep = (): Promise<boolean> => Promise.resolve(true);
const minute = 60_000;

let cluster: TestCluster;
let contents: EngineContentIndex;
let clock: ManualClock;

beforeEach(async () => {
  clock = new ManualClock();
  cluster = await openCluster({ data: 3, parity: 2 }, { clock });
  contents = new EngineContentIndex(cluster.state);
});

afterEach(async () => {
  await cluster.store.close();
});

function openAudit(): OrphanAudit {
  return new OrphanAudit({
    contents,
    state: cluster.state,
    nodes: () => cluster.nodes,
    clock,
    timing: { ...defaultTiming, ...quickTiming },
    logger: quiet,
    pace: new BytePace(1e9, systemClock),
    everyMs: 24 * 60 * minute,
  });
}

async function write(
  bytes: Uint8Array,
): Promise<{ readonly id: Buffer; readonly name: () => Promise<void> }> {
  const id = randomBytes(32);
  const written = await cluster.store.write(id, chunks(bytes), { sizeBytes: bytes.byteLength });
  return {
    id,
    name: () =>
      cluster.state.batch({
        conditions: written.conditions,
        operations: [
          {
            type: 'put',
            table: 'objects',
            key: id,
            value: encodeContent({ sizeBytes: bytes.byteLength, locator: written.locator }),
          },
        ],
      }),
  };
}

/** What a gateway does when it is killed: its epoch's row stays as it is. */
async function endEpochs(): Promise<void> {
  for await (const key of cluster.state.listKeys('state', epochPrefix))
    await cluster.state.delete('state', key);
}

async function report(): Promise<AuditReport> {
  return decodeReport((await cluster.state.get('state', auditReportKey))!);
}

describe('OrphanAudit', () => {
  it('deletes what a gateway left that died between shards and metadata, once its epoch has run out', async () => {
    const named = await write(randomBytes(1000));
    await named.name();
    await write(randomBytes(1000));
    const audit = openAudit();
    // The gateway is dead: nobody renews its row.
    await cluster.store.close();
    const [row] = await cluster.state
      .scan({ table: 'state', prefix: epochPrefix, limit: 1 })
      .then((page) => page.items);
    if (row !== undefined) await cluster.state.set('state', row.key, row.value);
    const other = Epochs.open({
      state: cluster.state,
      clock,
      logger: quiet,
      holder: 'dead',
      randomBytes,
    });
    const use = await other.acquire();
    await cluster.nodes[0]?.put(
      { objectHash: randomBytes(32), index: 0 },
      { epoch: use.epoch, blockSizeBytes: 10 },
      chunks(randomBytes(5)),
    );
    cluster.state.failure = new UnavailableError('cut off');
    await clock.advance(1);
    cluster.state.failure = undefined;
    await audit.auditIfDue({ signal, keep });
    // What was closed in good order is found at once; the dead one's waits for its lease.
    expect(shardCount(cluster)).toBe(6);
    use.release();
    await other.close();
    await audit.auditIfDue({ signal, keep });
    expect(shardCount(cluster)).toBe(5);
    expect((await report()).deleted).toBe(1);
    await named.name().catch(() => undefined);
  });

  it('ends the epoch of a process that is gone by its own clock, and no other', async () => {
    const dead = Epochs.open({
      state: cluster.state,
      clock: new ManualClock(),
      logger: quiet,
      holder: 'dead',
      randomBytes,
    });
    await dead.acquire();
    const alive = Epochs.open({ state: cluster.state, clock, logger: quiet, holder: 'alive', randomBytes });
    const use = await alive.acquire();
    const audit = openAudit();
    for (let i = 0; i < 5; i += 1) {
      await audit.auditIfDue({ signal, keep });
      expect((await cluster.state.scan({ table: 'state', prefix: epochPrefix, limit: 9 })).items.length).toBe(
        2,
      );
      await clock.advance(10 * minute);
    }
    await audit.auditIfDue({ signal, keep });
    const left = await cluster.state.scan({ table: 'state', prefix: epochPrefix, limit: 9 });
    expect(left.items.map((item) => item.key)).toEqual([(use.condition as { key: Uint8Array }).key]);
    use.release();
    await alive.close();
  });

  it('never touches an upload under way, however slow, over rolls of epochs', async () => {
    const gate = Promise.withResolvers<undefined>();
    const id = randomBytes(32);
    const slow = cluster.store.write(
      id,
      (async function* () {
        yield randomBytes(3 * 262_144);
        await gate.promise;
        yield randomBytes(3 * 262_144);
      })(),
    );
    await expect.poll(() => cluster.nodes.filter((node) => node.active > 0).length).toBe(5);
    const audit = openAudit();
    for (let hour = 0; hour < 3; hour += 1) {
      for (let i = 0; i < 6; i += 1) {
        await clock.advance(10 * minute);
        await audit.auditIfDue({ signal, keep });
      }
      // Others come and go, so that epochs are rolled.
      const quick = await write(randomBytes(10));
      await quick.name();
    }
    gate.resolve(undefined);
    const written = await slow;
    await audit.audit({ signal, keep, approved: false });
    await cluster.state.batch({
      conditions: written.conditions,
      operations: [
        {
          type: 'put',
          table: 'objects',
          key: id,
          value: encodeContent({ sizeBytes: 6 * 262_144, locator: written.locator }),
        },
      ],
    });
    await endEpochs();
    await audit.audit({ signal, keep, approved: false });
    for (const [index, node] of decodeLocator(written.locator).placement.entries()) {
      expect(await cluster.nodes[node!]?.stat({ objectHash: id, index })).toBeDefined();
    }
  });

  it('loses no content when the metadata is written while it looks', async () => {
    const late = await write(randomBytes(100));
    const audit = openAudit();
    const scan = cluster.nodes[0]!.scan.bind(cluster.nodes[0]);
    let batch: Promise<void> | undefined;
    cluster.nodes[0]!.scan = async (options) => {
      const found = await scan(options);
      // The last chance: right after the scan, and right before the epoch ends.
      batch ??= late.name().then(endEpochs);
      await batch;
      return found;
    };
    await audit.audit({ signal, keep, approved: false });
    expect(shardCount(cluster)).toBe(5);
  });

  it('keeps a shard that was put anew under another epoch', async () => {
    const stray = await write(randomBytes(100));
    await endEpochs();
    const node = cluster.nodes[0]!;
    const [name] = [...node.shards.keys()];
    const original = node.delete.bind(node);
    node.delete = async (shard, options) => {
      await node.put(shard, { epoch: 77n, blockSizeBytes: 100 }, chunks(randomBytes(34)));
      return original(shard, options);
    };
    await openAudit().audit({ signal, keep, approved: false });
    expect([...node.shards.keys()]).toEqual([name]);
    expect(shardCount(cluster)).toBe(1);
    await expect(stray.name()).rejects.toThrow('condition');
  });

  it('deletes nothing while it is halted', async () => {
    await write(randomBytes(100));
    await endEpochs();
    await cluster.state.set('state', auditHaltedKey, Buffer.of(1));
    const audit = openAudit();
    await audit.auditIfDue({ signal, keep });
    expect(shardCount(cluster)).toBe(5);
    await cluster.state.delete('state', auditHaltedKey);
    await audit.auditIfDue({ signal, keep });
    expect(shardCount(cluster)).toBe(0);
  });

  it('asks before it deletes more than a hundredth of what a node has', async () => {
    for (let i = 0; i < 101; i += 1) await write(randomBytes(1));
    await endEpochs();
    const audit = openAudit();
    await audit.auditIfDue({ signal, keep });
    expect(shardCount(cluster)).toBe(505);
    expect((await report()).asking.map((entry) => entry.orphans)).toEqual([101, 101, 101, 101, 101]);
    await cluster.state.set('state', auditApprovedKey, Buffer.of(1));
    await audit.auditIfDue({ signal, keep });
    expect(shardCount(cluster)).toBe(0);
    expect(await cluster.state.exists('state', auditApprovedKey)).toBe(false);
    expect((await report()).asking).toEqual([]);
  });

  it('leaves out nodes that do not answer', async () => {
    await write(randomBytes(100));
    await endEpochs();
    cluster.nodes[1]!.current = 'down';
    cluster.nodes[2]!.scan = () => Promise.reject(new Error('busy'));
    await openAudit().audit({ signal, keep, approved: false });
    expect(shardCount(cluster)).toBe(2);
  });
});
