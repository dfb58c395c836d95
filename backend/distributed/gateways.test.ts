import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { quietLogger } from '../../tests/contract/quiet_logger.ts';
import {
  alice,
  anyone,
  get,
  keysOf,
  patternOf,
  put,
  region,
  startUpload,
  uploadParts,
} from '../../tests/contract/requests.ts';
import { systemClock } from '../clock.ts';
import { openEngine, type Engine } from '../engine/engine.ts';
import { BackendError } from '../errors.ts';
import { LocalState } from '../local_state.ts';
import { DistributedDataStore } from './data_store.ts';
import { MemoryNode } from './testing/memory_node.ts';

const minPartBytes = 5 * 1024 * 1024;

/** Five gateways, each with its engine, cache and epochs, over the same metadata and the same five nodes. */
describe('five gateways at once', () => {
  let directory: string;
  let state: LocalState;
  let nodes: MemoryNode[];
  let gateways: Engine[];
  const bucket = 'shared';

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 's3d-gateways-'));
    state = await LocalState.open(directory);
    nodes = [0, 1, 2, 3, 4].map((id) => new MemoryNode(id));
    gateways = await Promise.all(
      [0, 1, 2, 3, 4].map(async (id) => {
        const data = await DistributedDataStore.open({
          rs: { data: 3, parity: 2 },
          nodes: () => nodes,
          state: sharing(state),
          clock: systemClock,
          logger: quietLogger,
          randomBytes,
          holder: `gateway-${id}`,
        });
        return openEngine({
          type: 'distributed',
          state: sharing(state),
          data,
          region,
          logger: quietLogger,
          gcDelayMs: 0,
          contentCacheMs: 0,
        });
      }),
    );
    await gateway(0).createBucket({ bucket, owner: alice, region });
  });

  afterEach(async () => {
    await Promise.all(gateways.map((engine) => engine.close()));
    await state.close();
    await rm(directory, { recursive: true });
  });

  function gateway(i: number): Engine {
    const found = gateways[i % gateways.length];
    if (found === undefined) throw new Error('there is no gateway');
    return found;
  }

  /** Nothing but what is named lies on the nodes, once garbage was collected. */
  async function expectShards(count: number): Promise<void> {
    const left = async (): Promise<number> => {
      for (const engine of gateways) await engine.collectGarbage();
      return nodes.reduce((sum, node) => sum + node.shards.size, 0);
    };
    await expect.poll(left, { timeout: 10_000 }).toBe(count);
  }

  it('write one key: all are answered, one is left, and every gateway reads the same one', async () => {
    for (let round = 0; round < 5; round += 1) {
      const contents = Array.from({ length: 10 }, (_, i) => patternOf(20_000 + round, i + 1));
      await Promise.all(contents.map((content, i) => put(gateway(i), { bucket, key: 'k' }, content)));
      const read = await Promise.all(gateways.map((engine) => get(engine, { bucket, key: 'k' })));
      const [first] = read;
      expect(contents.filter((content) => first?.equals(content) === true)).toHaveLength(1);
      for (const other of read) expect(other.equals(first!)).toBe(true);
      for (const engine of gateways) expect(await keysOf(engine, bucket)).toEqual(['k']);
    }
    await expectShards(5);
  });

  it('write one key that must not exist: one of them does', async () => {
    for (let round = 0; round < 5; round += 1) {
      const where = { bucket, key: `once-${round}` };
      const codes = codesOf(
        await Promise.allSettled(
          Array.from({ length: 10 }, (_, i) =>
            put(gateway(i), where, `writer ${i}`, { preconditions: { ifNoneMatch: ['*'] } }),
          ),
        ),
      );
      expect(codes.filter((code) => code === 'done')).toHaveLength(1);
      expect((await get(gateway(3), where)).toString()).toBe(`writer ${codes.indexOf('done')}`);
    }
    await expectShards(25);
  });

  it('delete and put one key: it is there whole or not at all, for all of them', async () => {
    for (let round = 0; round < 10; round += 1) {
      const where = { bucket, key: 'k' };
      await put(gateway(round), where, 'before');
      await Promise.all([
        gateway(round + 1).deleteObject({ ...where, authorize: anyone }),
        put(gateway(round + 2), where, 'after'),
        gateway(round + 3).deleteObject({ ...where, authorize: anyone }),
      ]);
      const listings = await Promise.all(gateways.map((engine) => keysOf(engine, bucket)));
      const [listed = []] = listings;
      for (const other of listings) expect(other).toEqual(listed);
      const reads = await Promise.allSettled(gateways.map((engine) => get(engine, where)));
      for (const read of reads) {
        if (listed.length === 0) expect(codesOf([read])).toEqual(['NoSuchKey']);
        else expect(read.status === 'fulfilled' && read.value.toString()).toBe('after');
      }
      await gateway(round).deleteObject({ ...where, authorize: anyone });
    }
    await expectShards(0);
  });

  it('complete and abort one upload: the whole object or none, and no part is left', async () => {
    const content = patternOf(minPartBytes);
    for (let round = 0; round < 4; round += 1) {
      const upload = await startUpload(gateway(round), { bucket, key: `m-${round}` });
      const parts = await uploadParts(gateway(round + 1), upload, [content, 'end']);
      const codes = codesOf(
        await Promise.allSettled([
          gateway(round + 2).completeMultipartUpload({ ...upload, parts }),
          gateway(round + 3).abortMultipartUpload(upload),
        ]),
      );
      expect(codes.filter((code) => code === 'done')).toHaveLength(1);
      expect(codes).toContain('NoSuchUpload');
      const keys = await keysOf(gateway(round + 4), bucket);
      expect(keys).toEqual(codes[0] === 'done' ? [upload.key] : []);
      if (codes[0] !== 'done') continue;
      expect((await get(gateway(round), upload)).length).toBe(content.length + 3);
      await gateway(round).deleteObject({ bucket, key: upload.key, authorize: anyone });
    }
    await expectShards(0);
  });

  it('send one part and complete: what is completed is what is read, and nothing else is left', async () => {
    for (let round = 0; round < 4; round += 1) {
      const upload = await startUpload(gateway(round), { bucket, key: 'p' });
      const parts = await uploadParts(gateway(round), upload, ['first']);
      const [completed] = codesOf(
        await Promise.allSettled([
          gateway(round + 1).completeMultipartUpload({ ...upload, parts }),
          uploadParts(gateway(round + 2), upload, ['other']),
          uploadParts(gateway(round + 3), upload, ['another']),
        ]),
      );
      if (completed === 'done') expect((await get(gateway(round), upload)).toString()).toBe('first');
      else await gateway(round).abortMultipartUpload(upload);
    }
    await gateway(0).deleteObject({ bucket, key: 'p', authorize: anyone });
    await expectShards(0);
  });

  it('delete a bucket and put into it: a bucket with its object, or neither', async () => {
    for (let round = 0; round < 10; round += 1) {
      const name = `bucket-${round}`;
      await gateway(round).createBucket({ bucket: name, owner: alice, region });
      const [deleted, ...written] = codesOf(
        await Promise.allSettled([
          gateway(round).deleteBucket({ bucket: name, authorize: anyone }),
          put(gateway(round + 1), { bucket: name, key: 'a' }, 'x'),
          put(gateway(round + 2), { bucket: name, key: 'b' }, 'y'),
        ]),
      );
      const done = ['a', 'b'].filter((_, i) => written[i] === 'done');
      if (done.length > 0) {
        expect(deleted).toBe('BucketNotEmpty');
        for (const engine of gateways) expect(await keysOf(engine, name)).toEqual(done);
        for (const key of done) await gateway(round).deleteObject({ bucket: name, key, authorize: anyone });
      } else expect([deleted, ...written]).toEqual(['done', 'NoSuchBucket', 'NoSuchBucket']);
    }
    await expectShards(0);
  });
});

/** What a gateway closes is its own view, not what all of them share. */
function sharing(state: LocalState): LocalState {
  return new Proxy(state, {
    get: (target, name) => {
      if (name === 'close') return () => Promise.resolve();
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

function codesOf(outcomes: readonly PromiseSettledResult<unknown>[]): string[] {
  return outcomes.map((outcome) => {
    if (outcome.status === 'fulfilled') return 'done';
    const reason: unknown = outcome.reason;
    return reason instanceof BackendError ? reason.code : String(reason);
  });
}
