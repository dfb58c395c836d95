import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { MalformedBytesError } from '../../wal/byte_codec.ts';
import type { Batch, Database } from '../database.ts';
import {
  ConditionFailedError,
  InvalidRequestError,
  UnavailableError,
  UnknownOutcomeError,
} from '../errors.ts';
import { formatRequestId, mintRequestId } from '../request_id.ts';
import { TestCluster } from '../testing/test_cluster.ts';
import { Bundler } from './bundler.ts';
import {
  decodeBatches,
  decodeGets,
  decodeReplies,
  decodeScan,
  encodeBatches,
  encodeGets,
  encodeReplies,
  encodeScan,
  type LaneReply,
} from './lane_codec.ts';

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
const text = (value: Uint8Array | undefined): string | undefined =>
  value === undefined ? undefined : Buffer.from(value).toString();
const put = (key: string, value: string): Batch => ({
  conditions: [],
  operations: [{ type: 'put', table: 't', key: bytes(key), value: bytes(value) }],
});

describe('a database over lanes', () => {
  let cluster: TestCluster;
  afterEach(async () => {
    await cluster.close();
    expect(cluster.failures).toEqual([]);
  });

  const read = async (database: Database, key: string): Promise<string | undefined> =>
    text(await database.get('t', bytes(key)));

  it.each([undefined, 'http2', 'http3'] as const)(
    'reads and writes through any replica, over %s',
    async (driver) => {
      cluster = await TestCluster.start({ size: 3, ...(driver === undefined ? {} : { driver }) });
      for (const { id } of cluster.addresses) {
        const client = cluster.laneClient([id]);
        const keys = Array.from({ length: 200 }, (_, i) => `${id}/${String(i).padStart(3, '0')}`);
        const written = await Promise.all(keys.map((key) => client.batch(put(key, `value of ${key}`))));
        expect(new Set(written.map(({ index }) => index)).size).toBe(200);
        expect(await Promise.all(keys.map((key) => read(client, key)))).toEqual(
          keys.map((key) => `value of ${key}`),
        );
        expect(await read(client, `${id}/none`)).toBeUndefined();
        const page = await client.scan({
          table: 't',
          prefix: bytes(`${id}/`),
          startAfter: bytes(`${id}/009`),
          limit: 3,
        });
        expect(page.items.map(({ key }) => text(key))).toEqual([`${id}/010`, `${id}/011`, `${id}/012`]);
        expect(text(page.next)).toBe(`${id}/012`);
        const rolledUp = await client.scan({
          table: 't',
          prefix: bytes(''),
          delimiter: bytes('/'),
          limit: 10,
        });
        expect(rolledUp.prefixes.map(text)).toContain(`${id}/`);
        const stale = await client.get('t', bytes(`${id}/000`), { consistency: 'stale' });
        expect([undefined, `value of ${id}/000`]).toContain(text(stale));
        await client.close();
      }
    },
  );

  it('answers each batch of a bundle by itself', async () => {
    cluster = await TestCluster.start({ size: 3 });
    const client = cluster.laneClient();
    const create = (key: string, value: string): Batch => ({
      ...put(key, value),
      conditions: [{ table: 't', key: bytes(key), exists: false }],
    });
    const answers = await Promise.allSettled([
      client.batch(create('a', '1')),
      client.batch(create('b', '1')),
      client.batch(create('a', '2')),
      client.batch({
        conditions: [],
        operations: [{ type: 'delete', table: 's3db-members', key: bytes('x') }],
      }),
    ]);
    const statuses = answers.map(({ status }) => status);
    // Calls at the same time have no order: one that met a follower first comes in later.
    const first = statuses[0] === 'fulfilled';
    expect(statuses).toEqual([
      first ? 'fulfilled' : 'rejected',
      'fulfilled',
      first ? 'rejected' : 'fulfilled',
      'rejected',
    ]);
    expect(
      answers.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason as unknown] : [])),
    ).toEqual([new ConditionFailedError(0), new InvalidRequestError('table s3db-members is reserved')]);
    expect(await read(client, 'a')).toBe(first ? '1' : '2');
    await expect(client.scan({ table: 't', prefix: bytes(''), limit: 0 })).rejects.toThrow(
      InvalidRequestError,
    );
    await client.close();
  });

  it('carries batches, values and pages that fit into no header', async () => {
    cluster = await TestCluster.start({ size: 1 });
    const client = cluster.laneClient();
    const large = 'x'.repeat(3_000_000);
    await Promise.all([client.batch(put('large-1', large)), client.batch(put('large-2', large))]);
    const found = await Promise.all(
      ['large-1', 'large-2', 'large-1', 'large-2'].map((key) => read(client, key)),
    );
    expect(found.every((value) => value === large)).toBe(true);
    const page = await client.scan({ table: 't', prefix: bytes('large'), limit: 10 });
    expect(page.items.map(({ value }) => value.length)).toEqual([3_000_000, 3_000_000]);
    await client.close();
  });

  it('applies a batch once that is given again under its id', async () => {
    cluster = await TestCluster.start({ size: 1 });
    const client = cluster.laneClient();
    const requestId = formatRequestId(mintRequestId(Date.now()));
    const first = await client.batch(put('a', '1'), { requestId });
    await client.batch(put('a', '2'));
    expect(await client.batch(put('a', '1'), { requestId })).toEqual(first);
    expect(await read(client, 'a')).toBe('2');
    await expect(client.batch(put('a', '3'), { requestId })).rejects.toThrow(InvalidRequestError);
    const old = formatRequestId(mintRequestId(Date.now() - 3_600_000));
    await expect(client.batch(put('a', '3'), { requestId: old })).rejects.toThrow(UnknownOutcomeError);
    await client.close();
  });

  it('works with any one replica gone', async () => {
    cluster = await TestCluster.start({ size: 3 });
    const client = cluster.laneClient();
    for (const { id } of cluster.addresses) {
      await cluster.stopServer(id);
      await client.batch(put(`without-${id}`, '1'), { deadlineMs: 10_000 });
      expect(await read(client, `without-${id}`)).toBe('1');
      await cluster.startServer(id);
      await cluster.servers.get(id)!.ready(10_000);
    }
    await client.close();
  });

  it('says what is known of a write when nobody answers', async () => {
    cluster = await TestCluster.start({ size: 3 });
    const leader = cluster.servers.get(1)!.status().leader_id!;
    const client = cluster.laneClient([leader]);
    await client.batch(put('a', '1'));
    for (const { id } of cluster.addresses) if (id !== leader) await cluster.stopServer(id);
    await expect(client.batch(put('a', '2'), { deadlineMs: 400 })).rejects.toThrow(UnknownOutcomeError);
    await cluster.stopServer(leader);
    await expect(client.batch(put('a', '3'), { deadlineMs: 400 })).rejects.toThrow(UnavailableError);
    await expect(client.get('t', bytes('a'), { deadlineMs: 400 })).rejects.toThrow(UnavailableError);
    await client.close();
  });

  it('lets nobody in who does not know the secret', async () => {
    cluster = await TestCluster.start({ size: 1 });
    const stranger = cluster.laneClient([1], Buffer.from('another secret than the one'));
    await expect(stranger.get('t', bytes('a'), { deadlineMs: 500 })).rejects.toThrow(UnavailableError);
    await stranger.close();
  });
});

describe('the codec', () => {
  const table = fc.constantFrom('t', 'objects', 'a-table');
  const blob = fc.uint8Array({ maxLength: 300 });
  const timeoutMs = fc.integer({ min: 1, max: 100_000 });

  it('gives back what it was given', () => {
    fc.assert(
      fc.property(fc.array(fc.record({ table, key: blob })), fc.boolean(), timeoutMs, (gets, stale, time) => {
        expect(plain(decodeGets(encodeGets(gets, { stale, timeoutMs: time })))).toEqual(
          plain({ gets, stale, timeoutMs: time }),
        );
      }),
    );
    const requestId = fc.uint8Array({ minLength: 16, maxLength: 16 });
    fc.assert(
      fc.property(fc.array(fc.record({ requestId, body: blob })), timeoutMs, (batches, time) => {
        expect(plain(decodeBatches(encodeBatches(batches, time)))).toEqual(
          plain({ batches, timeoutMs: time }),
        );
      }),
    );
    const request = fc.record(
      { table, prefix: blob, limit: fc.nat(), startAfter: blob, delimiter: blob },
      { requiredKeys: ['table', 'prefix', 'limit'] },
    );
    fc.assert(
      fc.property(request, fc.boolean(), timeoutMs, (scan, stale, time) => {
        expect(plain(decodeScan(encodeScan(scan, { stale, timeoutMs: time })))).toEqual(
          plain({ request: scan, stale, timeoutMs: time }),
        );
      }),
    );
    const reply: fc.Arbitrary<LaneReply> = fc.oneof(
      fc.record({ kind: fc.constant('value' as const), value: fc.option(blob, { nil: undefined }) }),
      fc.record({ kind: fc.constant('applied' as const), index: fc.nat() }),
      fc.record({ kind: fc.constant('conditionFailed' as const), condition: fc.nat() }),
      fc.record({
        kind: fc.constant('retry' as const),
        mayBeApplied: fc.boolean(),
        reason: fc.string({ maxLength: 200, unit: 'grapheme-ascii' }),
      }),
    );
    fc.assert(
      fc.property(fc.array(reply), fc.constantFrom('', '127.0.0.1:6660'), (replies, leader) => {
        expect(plain(decodeReplies(encodeReplies(leader, replies), replies.length))).toEqual(
          plain({ leader, replies }),
        );
      }),
    );
  });

  it('refuses what it can not understand', () => {
    for (const decode of [decodeGets, decodeBatches, decodeScan, (b: Uint8Array) => decodeReplies(b, 1)]) {
      expect(() => decode(Uint8Array.of())).toThrow(MalformedBytesError);
      expect(() => decode(Uint8Array.of(9, 0, 0, 0))).toThrow(MalformedBytesError);
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 60 }), (noise) => {
          try {
            decode(Uint8Array.of(1, ...noise));
          } catch (error) {
            expect(error).toBeInstanceOf(MalformedBytesError);
          }
        }),
      );
    }
    expect(() => decodeReplies(encodeReplies('', []), 1)).toThrow(MalformedBytesError);
  });
});

/** Buffers and plain arrays of bytes look alike. */
function plain(value: object): unknown {
  return JSON.parse(
    JSON.stringify(value, (_, part: unknown) => (part instanceof Uint8Array ? [...part] : part)),
  );
}

describe('a bundler', () => {
  it('sends one at once, and what comes meanwhile together', async () => {
    const sent: number[][] = [];
    const ends: (() => void)[] = [];
    const bundler = new Bundler<number>({
      maxInFlight: 1,
      maxItems: 3,
      maxBytes: 100,
      sizeOf: (item) => item,
      isWanted: (item) => item !== 13,
      send: (items) => {
        sent.push([...items]);
        return new Promise((resolve) => ends.push(resolve));
      },
    });
    const turn = (): Promise<void> => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    bundler.add(1);
    await turn();
    expect(sent).toEqual([[1]]);
    for (const item of [2, 13, 3, 4, 5, 99, 200, 6]) bundler.add(item);
    await turn();
    expect(sent).toHaveLength(1);
    for (let i = 0; i < 6; i++) {
      ends.shift()?.();
      await turn();
    }
    // Three at most, 100 bytes at most, but one that is larger goes alone.
    expect(sent).toEqual([[1], [2, 3, 4], [5], [99], [200], [6]]);
    expect(bundler.waiting).toBe(0);
  });
});
