import { describe, expect, it } from 'vitest';
import type { Backend, BucketSetting, ObjectLock, Tags } from '../../backend/backend.ts';
import { BackendError } from '../../backend/errors.ts';
import { encodeLockConfiguration, type LockConfiguration } from '../../backend/object_lock.ts';
import { alice, anyone, newBucket, put, refusal, region, startUpload, uploadParts } from './requests.ts';

const dayMs = 24 * 60 * 60 * 1000;
const far = { mode: 'GOVERNANCE', untilMs: Date.UTC(2140, 0, 1) } as const;
const compliance = { mode: 'COMPLIANCE', untilMs: Date.UTC(2140, 0, 1) } as const;

let locked = 0;

async function lockedBucket(backend: Backend, configuration: LockConfiguration = {}): Promise<string> {
  const bucket = `locked-${process.pid}-${++locked}`;
  const settings = new Map<BucketSetting, string>([
    ['versioning', 'Enabled'],
    ['object-lock', encodeLockConfiguration(configuration)],
  ]);
  await backend.createBucket({ bucket, owner: alice, region, settings });
  return bucket;
}

export function markCases(backend: () => Backend): void {
  const head = (where: { bucket: string; key: string; versionId?: string }) =>
    backend().headObject({ ...where, authorize: anyone });
  const tagsOf = async (where: { bucket: string; key: string; versionId?: string }): Promise<unknown> =>
    Object.fromEntries((await head(where)).tags ?? []);
  const lockOf = async (where: { bucket: string; key: string; versionId?: string }) =>
    (await head(where)).lock;

  describe('tags of objects', () => {
    it('are set, replaced and removed without another version', async () => {
      const where = { bucket: await newBucket(backend()), key: 'k' };
      const { etag, lastModifiedMs } = await put(backend(), where, 'x', { tags: new Map([['a', '1']]) });
      expect(await tagsOf(where)).toEqual({ a: '1' });
      await backend().updateObject({ ...where, authorize: anyone, tags: new Map([['b', '']]) });
      expect(await tagsOf(where)).toEqual({ b: '' });
      expect(await head(where)).toMatchObject({ etag, lastModifiedMs });
      await backend().updateObject({ ...where, authorize: anyone, tags: new Map() });
      expect((await head(where)).tags).toBeUndefined();
      await refusal(
        backend().updateObject({ ...where, key: 'no', authorize: anyone, tags: new Map() }),
        'NoSuchKey',
      );
    });

    it('are shown to whoever decides about access', async () => {
      const where = { bucket: await newBucket(backend()), key: 'k' };
      await put(backend(), where, 'x', { tags: new Map([['a', '1']]) });
      const seen: (Tags | undefined)[] = [];
      await backend().headObject({ ...where, authorize: (_, object) => void seen.push(object?.tags) });
      expect(seen).toEqual([new Map([['a', '1']])]);
    });

    it('go along with copies and from uploads to their objects, and are gone with a new object', async () => {
      const where = { bucket: await newBucket(backend()), key: 'k' };
      const tags = new Map([['a', '1']]);
      await put(backend(), where, 'x', { tags });
      const source = { ...where, authorize: anyone };
      const copy = { ...where, owner: alice, source, authorize: anyone };
      await backend().copyObject({ ...copy, key: 'copied' });
      await backend().copyObject({ ...copy, key: 'other', tags: new Map([['b', '2']]) });
      await backend().copyObject({ ...copy, key: 'none', tags: new Map() });
      expect(await tagsOf({ ...where, key: 'copied' })).toEqual({ a: '1' });
      expect(await tagsOf({ ...where, key: 'other' })).toEqual({ b: '2' });
      expect(await tagsOf({ ...where, key: 'none' })).toEqual({});
      const upload = await startUpload(backend(), { ...where, key: 'm' }, { tags });
      const parts = await uploadParts(backend(), upload, ['part']);
      await backend().completeMultipartUpload({ ...upload, parts });
      expect(await tagsOf({ ...where, key: 'm' })).toEqual({ a: '1' });
      await put(backend(), where, 'new');
      expect(await tagsOf(where)).toEqual({});
    });

    it('belong to one version each', async () => {
      const bucket = await lockedBucket(backend());
      const where = { bucket, key: 'k' };
      const one = await put(backend(), where, '1', { tags: new Map([['n', '1']]) });
      const two = await put(backend(), where, '2', { tags: new Map([['n', '2']]) });
      const old = { ...where, versionId: one.versionId ?? '' };
      const updated = await backend().updateObject({
        ...old,
        authorize: anyone,
        tags: new Map([['n', 'one']]),
      });
      expect(updated).toEqual({ versionId: one.versionId });
      expect(await tagsOf(old)).toEqual({ n: 'one' });
      expect(await tagsOf(where)).toEqual({ n: '2' });
      await backend().updateObject({ ...where, authorize: anyone, tags: new Map([['n', 'two']]) });
      expect(await tagsOf({ ...where, versionId: two.versionId ?? '' })).toEqual({ n: 'two' });
      await backend().deleteObject({ ...where, versionId: two.versionId ?? '', authorize: anyone });
      expect(await tagsOf(where)).toEqual({ n: 'one' });
      const marker = await backend().deleteObject({ ...where, authorize: anyone });
      const onMarker = { ...where, versionId: marker.versionId ?? '', authorize: anyone, tags: new Map() };
      await refusal(backend().updateObject(onMarker), 'MethodNotAllowed');
      await refusal(backend().updateObject({ ...where, authorize: anyone, tags: new Map() }), 'NoSuchKey');
    });
  });

  describe('object lock', () => {
    it('keeps a version until its time, and under GOVERNANCE from those who may not pass over it', async () => {
      const where = { bucket: await lockedBucket(backend()), key: 'k' };
      for (const [retention, bypassed] of [
        [far, true],
        [compliance, false],
      ] as const) {
        const { versionId = '' } = await put(backend(), where, 'x', { lock: { retention } });
        const version = { ...where, versionId, authorize: anyone };
        expect(await lockOf(version)).toEqual({ retention });
        await refusal(backend().deleteObject(version), 'AccessDenied');
        const forbidden = () => {
          throw new BackendError('AccessDenied', 'may not pass over it');
        };
        await refusal(backend().deleteObject({ ...version, bypassGovernance: forbidden }), 'AccessDenied');
        expect((await head(version)).versionId).toBe(versionId);
        const deleting = backend().deleteObject({ ...version, bypassGovernance: anyone });
        if (bypassed) expect(await deleting).toEqual({ versionId });
        else await refusal(deleting, 'AccessDenied');
      }
    });

    it('does not keep delete markers from being put on top and removed again', async () => {
      const where = { bucket: await lockedBucket(backend()), key: 'k', authorize: anyone };
      const { versionId = '' } = await put(backend(), where, 'x', { lock: { legalHold: true } });
      const marker = await backend().deleteObject(where);
      await refusal(
        backend().deleteObject({ ...where, versionId, bypassGovernance: anyone }),
        'AccessDenied',
      );
      await backend().deleteObject({ ...where, versionId: marker.versionId ?? '' });
      expect((await head(where)).versionId).toBe(versionId);
      await backend().updateObject({ ...where, legalHold: false });
      expect(await lockOf(where)).toEqual({ legalHold: false });
      await backend().deleteObject({ ...where, versionId });
    });

    it('lets a retention become longer, and weaker only by the bypass or never', async () => {
      const where = { bucket: await lockedBucket(backend()), key: 'k', authorize: anyone };
      await put(backend(), where, 'x', { lock: { retention: far } });
      const longer = { ...far, untilMs: far.untilMs + dayMs };
      const set = (retention: NonNullable<ObjectLock['retention']> | 'none', bypass = false) =>
        backend().updateObject({ ...where, retention, ...(bypass ? { bypassGovernance: anyone } : {}) });
      await set(longer);
      await refusal(set(far), 'AccessDenied');
      await refusal(set('none'), 'AccessDenied');
      await refusal(set(compliance), 'AccessDenied');
      await refusal(set({ ...far, untilMs: Date.now() - dayMs }, true), 'InvalidArgument');
      await set(far, true);
      await set('none', true);
      expect(await lockOf(where)).toEqual({});
      await set(compliance);
      await refusal(set(far, true), 'AccessDenied');
      await refusal(set('none', true), 'AccessDenied');
      await set({ ...compliance, untilMs: compliance.untilMs + dayMs });
      await refusal(set(compliance, true), 'AccessDenied');
    });

    it('gives new versions the bucket’s default, unless they bring their own', async () => {
      const defaultRetention = { mode: 'GOVERNANCE', unit: 'Days', count: 3 } as const;
      const bucket = await lockedBucket(backend(), { defaultRetention });
      const where = { bucket, key: 'k' };
      const { lastModifiedMs } = await put(backend(), where, 'x', { lock: { legalHold: true } });
      expect(await lockOf(where)).toEqual({
        legalHold: true,
        retention: { mode: 'GOVERNANCE', untilMs: lastModifiedMs + 3 * dayMs },
      });
      await put(backend(), where, 'x', { lock: { retention: compliance } });
      expect(await lockOf(where)).toEqual({ retention: compliance });
      const upload = await startUpload(backend(), { ...where, key: 'm' });
      const parts = await uploadParts(backend(), upload, ['part']);
      await backend().completeMultipartUpload({ ...upload, parts });
      expect((await lockOf({ ...where, key: 'm' }))?.retention?.mode).toBe('GOVERNANCE');
      const source = { ...where, authorize: anyone };
      await backend().copyObject({ bucket, key: 'copy', owner: alice, source, authorize: anyone });
      expect((await lockOf({ ...where, key: 'copy' }))?.retention?.mode).toBe('GOVERNANCE');
    });

    it('is refused in a bucket that has none, before anything is stored', async () => {
      const where = { bucket: await newBucket(backend()), key: 'k', authorize: anyone };
      await refusal(put(backend(), where, 'x', { lock: { legalHold: true } }), 'InvalidRequest');
      await refusal(head(where), 'NoSuchKey');
      await put(backend(), where, 'x');
      await refusal(backend().updateObject({ ...where, legalHold: true }), 'InvalidRequest');
      await refusal(backend().updateObject({ ...where, retention: far }), 'InvalidRequest');
    });

    it('asked for in the past is refused', async () => {
      const where = { bucket: await lockedBucket(backend()), key: 'k' };
      const past = { lock: { retention: { ...far, untilMs: Date.now() - 1 } } };
      await refusal(put(backend(), where, 'x', past), 'InvalidArgument');
    });

    it('that comes while a deletion is under way wins or loses, but is never passed over', async () => {
      const where = { bucket: await lockedBucket(backend()), key: 'k', authorize: anyone };
      for (let round = 0; round < 6; round++) {
        const { versionId = '' } = await put(backend(), where, 'x');
        const version = { ...where, versionId };
        const [held, deleted] = await Promise.allSettled([
          backend().updateObject({ ...version, legalHold: true }),
          backend().deleteObject(version),
        ]);
        expect([held.status, deleted.status].toSorted()).toEqual(['fulfilled', 'rejected']);
        if (held.status === 'fulfilled') expect(await lockOf(version)).toEqual({ legalHold: true });
      }
    });
  });
}
