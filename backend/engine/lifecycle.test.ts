import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  alice,
  anyone,
  keysOf,
  put,
  region,
  startUpload,
  uploadParts,
} from '../../tests/contract/requests.ts';
import type { BucketSetting } from '../backend.ts';
import { encodeLifecycle, type LifecycleRule } from '../lifecycle/rules.ts';
import type { Engine } from './engine.ts';
import type { ObjectChange } from './object_changes.ts';
import { openFixture, type Fixture } from './testing/fixture.ts';

const dayMs = 24 * 60 * 60 * 1000;
const all = { form: 'filter' } as const;
let nowMs: number;
let fixture: Fixture;
let engine: Engine;
let seen: ObjectChange[];
beforeEach(async () => {
  nowMs = Date.UTC(2026, 0, 1, 12);
  seen = [];
  fixture = await openFixture({
    observers: [
      () => (change) => {
        seen.push(change);
        return { operations: [] };
      },
    ],
    clock: () => nowMs,
    monotonicClock: () => nowMs,
    lifecycle: { tickMs: 3_600_000, rowsPerPage: 4 },
  });
  engine = fixture.engine;
});
afterEach(() => fixture.close());

let buckets = 0;
async function newBucket(
  rules: readonly Omit<LifecycleRule, 'id' | 'enabled'>[],
  settings: readonly (readonly [BucketSetting, string])[] = [],
): Promise<string> {
  const bucket = `rules-${++buckets}`;
  const text = encodeLifecycle(rules.map((rule, i) => ({ id: `r${i}`, enabled: true, ...rule })));
  const map = new Map<BucketSetting, string>([['lifecycle', text], ...settings]);
  await engine.createBucket({ bucket, owner: alice, region, settings: map });
  return bucket;
}
const versioned = [['versioning', 'Enabled']] as const;

async function versionsOf(bucket: string): Promise<string[]> {
  const { versions } = await engine.listObjectVersions({
    bucket,
    prefix: '',
    maxKeys: 1000,
    authorize: anyone,
  });
  return versions.map(({ key, deleteMarker, versionId }) => `${key}:${deleteMarker ? 'marker' : versionId}`);
}

async function pass(by = engine): Promise<void> {
  expect(await by.runLifecycle()).toBe(true);
}

describe('lifecycle rules', () => {
  it('delete objects that are due, and no others', async () => {
    const bucket = await newBucket([
      { filter: { ...all, prefix: 'logs/' }, expiration: { days: 2 } },
      { filter: { ...all, prefix: 'tmp/', tags: [['keep', 'no']] }, expiration: { days: 1 } },
    ]);
    for (const key of ['a', 'logs/1', 'logs/2', 'tmp/1', 'z']) await put(engine, { bucket, key }, 'x');
    await put(engine, { bucket, key: 'tmp/2' }, 'x', { tags: new Map([['keep', 'no']]) });
    await pass();
    expect(await keysOf(engine, bucket)).toHaveLength(6);
    nowMs += 2 * dayMs;
    await put(engine, { bucket, key: 'logs/2' }, 'newer');
    await pass();
    expect(await keysOf(engine, bucket)).toEqual(['a', 'logs/1', 'logs/2', 'tmp/1', 'z']);
    nowMs += dayMs;
    await pass();
    expect(await keysOf(engine, bucket)).toEqual(['a', 'logs/2', 'tmp/1', 'z']);
    await engine.collectGarbage();
    nowMs += 10;
    await engine.collectGarbage();
    expect(fixture.data.live.size).toBe(4);
  });

  it('put delete markers on top of versions, and remove what is noncurrent for long enough', async () => {
    const bucket = await newBucket(
      [{ filter: all, expiration: { days: 3 }, noncurrentExpiration: { days: 1, newer: 1 } }],
      versioned,
    );
    const ids: string[] = [];
    for (let i = 0; i < 4; i++) {
      ids.push((await put(engine, { bucket, key: 'k' }, `${i}`)).versionId ?? '');
      nowMs += 1000;
    }
    nowMs += 2 * dayMs;
    await pass();
    expect(await versionsOf(bucket)).toEqual([`k:${ids[3]}`, `k:${ids[2]}`]);
    nowMs += 2 * dayMs;
    await pass();
    expect(await versionsOf(bucket)).toEqual(['k:marker', `k:${ids[3]}`, `k:${ids[2]}`]);
    nowMs += 2 * dayMs;
    await pass();
    expect(await versionsOf(bucket)).toEqual(['k:marker', `k:${ids[3]}`]);
    nowMs += 9 * dayMs;
    await pass();
    expect(await versionsOf(bucket)).toEqual(['k:marker', `k:${ids[3]}`]);
    await engine.deleteObject({ bucket, key: 'k', versionId: ids[3] ?? '', authorize: anyone });
    nowMs += dayMs;
    await pass();
    expect(await versionsOf(bucket)).toEqual([]);
  });

  it('never delete what is locked', async () => {
    const bucket = await newBucket(
      [{ filter: all, noncurrentExpiration: { days: 1 } }],
      [...versioned, ['object-lock', '{}']],
    );
    const lock = { retention: { mode: 'GOVERNANCE', untilMs: nowMs + 4 * dayMs } } as const;
    const held = (await put(engine, { bucket, key: 'k' }, '1', { lock: { legalHold: true } })).versionId;
    const retained = (await put(engine, { bucket, key: 'k' }, '2', { lock })).versionId;
    await put(engine, { bucket, key: 'k' }, '3');
    nowMs += 3 * dayMs;
    await pass();
    expect(await versionsOf(bucket)).toHaveLength(3);
    nowMs += 2 * dayMs;
    await pass();
    expect(await versionsOf(bucket)).toHaveLength(2);
    expect(await versionsOf(bucket)).toContain(`k:${held ?? ''}`);
    expect(await versionsOf(bucket)).not.toContain(`k:${retained ?? ''}`);
  });

  it('leave a version that changed after it was looked at', async () => {
    const bucket = await newBucket([{ filter: { ...all, tags: [['t', '1']] }, expiration: { days: 1 } }]);
    const where = { bucket, key: 'k', authorize: anyone };
    await put(engine, where, 'x', { tags: new Map([['t', '1']]) });
    nowMs += 3 * dayMs;
    let changed = false;
    fixture.state.onGet = async (table) => {
      if (table !== 'objects' || changed) return;
      changed = true;
      await engine.updateObject({ ...where, tags: new Map([['t', '2']]) });
    };
    await pass();
    expect(changed).toBe(true);
    expect(await keysOf(engine, bucket)).toEqual(['k']);
  });

  it('abort uploads that were begun long ago', async () => {
    const bucket = await newBucket([{ filter: { ...all, prefix: 'a' }, abortDays: 2 }]);
    const old = await startUpload(engine, { bucket, key: 'a' });
    await uploadParts(engine, old, ['part']);
    await startUpload(engine, { bucket, key: 'b' });
    nowMs += 3 * dayMs;
    await startUpload(engine, { bucket, key: 'a' });
    await pass();
    const { uploads } = await engine.listMultipartUploads({
      bucket,
      prefix: '',
      maxUploads: 9,
      authorize: anyone,
    });
    expect(uploads.map(({ key }) => key)).toEqual(['a', 'b']);
    expect(uploads[0]?.uploadId).not.toBe(old.uploadId);
  });

  it('are looked at once a day, and when they change', async () => {
    const bucket = await newBucket([{ filter: all, expiration: { days: 9 } }]);
    await put(engine, { bucket, key: 'k' }, 'x');
    let scans = 0;
    fixture.state.onScan = ({ table }) => {
      if (table === 'versions') scans++;
    };
    const scansOf = async (): Promise<number> => {
      scans = 0;
      await pass();
      return scans;
    };
    await pass();
    expect(await scansOf()).toBe(0);
    nowMs += dayMs;
    expect(await scansOf()).toBeGreaterThan(0);
    expect(await scansOf()).toBe(0);
    const rules = encodeLifecycle([{ id: 'r', enabled: true, filter: all, expiration: { days: 1 } }]);
    await engine.updateBucketSettings({ bucket, authorize: anyone, change: () => ({ lifecycle: rules }) });
    expect(await scansOf()).toBeGreaterThan(0);
    nowMs += dayMs;
    await pass();
    expect(await keysOf(engine, bucket)).toEqual([]);
  });

  it('are carried out by one gateway, and go on with another where that one stopped', async () => {
    const bucket = await newBucket([{ filter: all, expiration: { days: 1 } }]);
    for (let i = 0; i < 11; i++) await put(engine, { bucket, key: `k${String(i).padStart(4, '0')}` }, '');
    nowMs += 3 * dayMs;
    const other = await fixture.another();
    await pass();
    expect(await other.runLifecycle()).toBe(false);
    expect(await keysOf(engine, bucket)).toEqual([]);
  });

  it('go on where they stopped', async () => {
    const bucket = await newBucket([{ filter: all, expiration: { days: 1 } }]);
    for (let i = 0; i < 11; i++) await put(engine, { bucket, key: `k${String(i).padStart(4, '0')}` }, '');
    nowMs += 3 * dayMs;
    const other = await fixture.another();
    let pages = 0;
    let closing: Promise<void> | undefined;
    // The second page's scan: each page has one more, for the rest of its last key.
    const starts: (Uint8Array | undefined)[] = [];
    fixture.state.onScan = ({ table, startAfter }) => {
      if (table !== 'versions') return;
      starts.push(startAfter);
      if (++pages === 3) closing = engine.close();
    };
    await engine.runLifecycle();
    await closing;
    const left = (await keysOf(other, bucket)).length;
    expect(left).toBeGreaterThan(0);
    expect(left).toBeLessThan(11);
    starts.length = 0;
    await pass(other);
    expect(starts[0]).toBeDefined();
    expect(await keysOf(other, bucket)).toEqual([]);
  });

  it('let observers know what they do, and by how much buckets shrink', async () => {
    const plain = await newBucket([{ filter: all, expiration: { days: 1 } }]);
    const kept = await newBucket(
      [{ filter: all, expiration: { days: 1 }, noncurrentExpiration: { days: 1 } }],
      versioned,
    );
    await put(engine, { bucket: plain, key: 'a' }, 'four');
    const { versionId } = await put(engine, { bucket: kept, key: 'b' }, 'eleven char');
    seen.length = 0;
    nowMs += 2 * dayMs;
    await pass();
    nowMs += 2 * dayMs;
    await pass();
    const inBucket = (name: string): ObjectChange[] => seen.filter(({ bucket }) => bucket.name === name);
    const summary = (change: ObjectChange) => [change.event, change.key, change.growth];
    expect(inBucket(plain).map(summary)).toEqual([
      ['LifecycleExpiration:Delete', 'a', { bytes: -4, versions: -1 }],
    ]);
    expect(inBucket(kept).map(summary)).toEqual([
      ['LifecycleExpiration:DeleteMarkerCreated', 'b', { bytes: 0, versions: 0 }],
      ['LifecycleExpiration:Delete', 'b', { bytes: -11, versions: -1 }],
    ]);
    expect(inBucket(plain)[0]?.versionId).toBeUndefined();
    expect(inBucket(kept)[1]?.versionId).toBe(versionId);
  });

  it('are told with the objects that they will delete', async () => {
    const bucket = await newBucket([{ filter: { ...all, prefix: 'a' }, expiration: { days: 1 } }]);
    const expiration = { atMs: Date.UTC(2026, 0, 3), ruleId: 'r0' };
    expect((await put(engine, { bucket, key: 'a' }, 'x')).expiration).toEqual(expiration);
    expect((await put(engine, { bucket, key: 'b' }, 'x')).expiration).toBeUndefined();
    const head = await engine.headObject({ bucket, key: 'a', authorize: anyone });
    expect(head.expiration).toEqual(expiration);
  });
});
