import { describe, expect, it } from 'vitest';
import type { Backend, VersionSummary } from '../../backend/backend.ts';
import { BackendError } from '../../backend/errors.ts';
import {
  anyone,
  bytesOf,
  get,
  keysOf,
  newBucket,
  patternOf,
  put,
  refusal,
  startUpload,
  uploadParts,
} from './requests.ts';

/** A versioned bucket, and short forms of what the cases do in it. */
async function versionedBucket(backend: Backend) {
  const bucket = await newBucket(backend);
  const setVersioning = (versioning: 'Enabled' | 'Suspended'): Promise<void> =>
    backend.updateBucketSettings({ bucket, authorize: anyone, change: () => ({ versioning }) });
  await setVersioning('Enabled');
  const write = async (key: string, content: string): Promise<string> =>
    (await put(backend, { bucket, key }, content)).versionId ?? 'null';
  const read = async (key: string, versionId?: string): Promise<string> => {
    const request = { bucket, key, authorize: anyone };
    const found = await backend.getObject(versionId === undefined ? request : { ...request, versionId });
    return (await bytesOf(found)).toString();
  };
  const remove = (key: string, versionId?: string) =>
    backend.deleteObject({
      bucket,
      key,
      authorize: anyone,
      ...(versionId === undefined ? {} : { versionId }),
    });
  const list = async (prefix = '', maxKeys = 1000): Promise<VersionSummary[]> => {
    const all: VersionSummary[] = [];
    let marker: { keyMarker?: string; versionIdMarker?: string } = {};
    for (;;) {
      const page = await backend.listObjectVersions({
        bucket,
        prefix,
        maxKeys,
        authorize: anyone,
        ...marker,
      });
      all.push(...page.versions);
      if (page.nextKeyMarker === undefined) return all;
      expect(page.versions.length + page.prefixes.length).toBe(maxKeys);
      marker = {
        keyMarker: page.nextKeyMarker,
        ...(page.nextVersionIdMarker === undefined ? {} : { versionIdMarker: page.nextVersionIdMarker }),
      };
    }
  };
  return { bucket, setVersioning, write, read, remove, list };
}

export function versionCases(backend: () => Backend): void {
  describe('versions', () => {
    it('are all kept, listed newest first and read by their ids', async () => {
      const { bucket, write, read, list } = await versionedBucket(backend());
      const ids = [await write('k', 'one'), await write('k', 'two'), await write('k', 'three')];
      expect(new Set(ids).size).toBe(3);
      expect(await read('k')).toBe('three');
      expect(await Promise.all(ids.map((id) => read('k', id)))).toEqual(['one', 'two', 'three']);
      const listed = await list();
      expect(listed.map(({ versionId }) => versionId)).toEqual(ids.toReversed());
      expect(listed.map(({ isLatest }) => isLatest)).toEqual([true, false, false]);
      expect(await keysOf(backend(), bucket)).toEqual(['k']);
      const head = await backend().headObject({ bucket, key: 'k', authorize: anyone });
      expect(head.versionId).toBe(ids[2]);
    });

    it('are hidden by a delete marker, which can be removed again', async () => {
      const { bucket, write, read, remove, list } = await versionedBucket(backend());
      const one = await write('k', 'one');
      const deleted = await remove('k');
      expect(deleted.deleteMarker).toBe(true);
      const marker = deleted.versionId ?? '';
      expect(marker).not.toBe(one);
      const missing = await refusal(read('k'), 'NoSuchKey');
      expect(missing.details).toMatchObject({ deleteMarker: 'true', versionId: marker });
      const unreadable = await refusal(read('k', marker), 'MethodNotAllowed');
      expect(unreadable.details).toMatchObject({ deleteMarker: 'true', versionId: marker });
      expect(await read('k', one)).toBe('one');
      expect(await keysOf(backend(), bucket)).toEqual([]);
      expect((await list()).map(({ versionId, deleteMarker }) => [versionId, deleteMarker])).toEqual([
        [marker, true],
        [one, false],
      ]);
      expect(await remove('k', marker)).toEqual({ versionId: marker, deleteMarker: true });
      expect(await read('k')).toBe('one');
      expect(await keysOf(backend(), bucket)).toEqual(['k']);
    });

    it('take their place as the current one when newer ones are removed', async () => {
      const { write, read, remove, list } = await versionedBucket(backend());
      const [one, two, three] = [await write('k', '1'), await write('k', '2'), await write('k', '3')];
      expect(await remove('k', two)).toEqual({ versionId: two });
      expect(await read('k')).toBe('3');
      await remove('k', three);
      expect(await read('k')).toBe('1');
      expect(await list()).toMatchObject([{ versionId: one, isLatest: true }]);
      await refusal(read('k', two), 'NoSuchVersion');
      const four = await write('k', '4');
      expect((await list()).map(({ versionId }) => versionId)).toEqual([four, one]);
      await remove('k', four);
      await remove('k', one);
      await refusal(read('k'), 'NoSuchKey');
      expect(await list()).toEqual([]);
    });

    it('that are not there are deleted with success and change nothing', async () => {
      const { write, read, remove, list } = await versionedBucket(backend());
      const one = await write('k', '1');
      const other = await write('other', '2');
      for (const id of [other, 'null', 'nonsense', '0'.repeat(32)]) {
        expect(await remove('k', id)).toEqual({ versionId: id });
        await refusal(read('k', id), 'NoSuchVersion');
      }
      expect(await read('k')).toBe('1');
      expect(await list('k')).toMatchObject([{ versionId: one }]);
    });

    it('pile up as delete markers, also of keys that never were', async () => {
      const { bucket, remove, list } = await versionedBucket(backend());
      const first = await remove('never');
      const second = await remove('never');
      expect(first.deleteMarker).toBe(true);
      expect((await list()).map(({ versionId }) => versionId)).toEqual([second.versionId, first.versionId]);
      await remove('never', second.versionId);
      await remove('never', first.versionId);
      expect(await list()).toEqual([]);
      await backend().deleteBucket({ bucket, authorize: anyone });
    });

    it('keep a bucket from being deleted, delete markers as well', async () => {
      const { bucket, write, remove } = await versionedBucket(backend());
      const one = await write('k', '1');
      const marker = await remove('k');
      await refusal(backend().deleteBucket({ bucket, authorize: anyone }), 'BucketNotEmpty');
      await remove('k', one);
      await refusal(backend().deleteBucket({ bucket, authorize: anyone }), 'BucketNotEmpty');
      await remove('k', marker.versionId);
      await backend().deleteBucket({ bucket, authorize: anyone });
    });

    it('come of completed uploads and of copies, also of an old version onto its own key', async () => {
      const { bucket, write, read, list } = await versionedBucket(backend());
      const one = await write('k', 'one');
      const two = await write('k', 'two');
      const copied = await backend().copyObject({
        bucket,
        key: 'k',
        owner: { id: '111111111111', displayName: 'alice' },
        authorize: anyone,
        source: { bucket, key: 'k', versionId: one, authorize: anyone },
      });
      expect(copied.sourceVersionId).toBe(one);
      expect(await read('k')).toBe('one');
      const upload = await startUpload(backend(), { bucket, key: 'k' });
      const parts = await uploadParts(backend(), upload, [patternOf(1000)]);
      const completed = await backend().completeMultipartUpload({ ...upload, parts });
      const again = await backend().completeMultipartUpload({ ...upload, parts });
      expect(again.versionId).toBe(completed.versionId);
      expect((await list()).map(({ versionId }) => versionId)).toEqual([
        completed.versionId,
        copied.versionId,
        two,
        one,
      ]);
      expect((await get(backend(), { bucket, key: 'k' })).equals(patternOf(1000))).toBe(true);
    });

    it('are listed page by page, in every size of page', async () => {
      const { bucket, write, remove, setVersioning, list } = await versionedBucket(backend());
      for (const key of ['a', 'a/b', 'b']) {
        await write(key, '1');
        await write(key, '2');
        await remove(key);
      }
      await setVersioning('Suspended');
      await write('a', 'null');
      await setVersioning('Enabled');
      await write('a', '3');
      const all = await list();
      expect(all.map(({ key }) => key)).toEqual([
        ...Array<string>(5).fill('a'),
        'a/b',
        'a/b',
        'a/b',
        'b',
        'b',
        'b',
      ]);
      for (const size of [1, 2, 3, 5, 11]) expect(await list('', size)).toEqual(all);
      const rolled = await backend().listObjectVersions({
        bucket,
        prefix: '',
        delimiter: '/',
        maxKeys: 1000,
        authorize: anyone,
      });
      expect(rolled.prefixes).toEqual(['a/']);
      expect(rolled.versions.map(({ key }) => key)).toEqual([...Array<string>(5).fill('a'), 'b', 'b', 'b']);
      await refusal(
        backend().listObjectVersions({
          bucket,
          prefix: '',
          maxKeys: 1,
          keyMarker: 'a',
          versionIdMarker: '?',
          authorize: anyone,
        }),
        'InvalidArgument',
      );
    });
  });

  describe('the null version', () => {
    it('is what was written before versioning, and stays beneath', async () => {
      const bucket = await newBucket(backend());
      await put(backend(), { bucket, key: 'k' }, 'before');
      await backend().updateBucketSettings({
        bucket,
        authorize: anyone,
        change: () => ({ versioning: 'Enabled' }),
      });
      const { versionId } = await put(backend(), { bucket, key: 'k' }, 'after');
      const read = async (id: string): Promise<string> =>
        (
          await bytesOf(await backend().getObject({ bucket, key: 'k', versionId: id, authorize: anyone }))
        ).toString();
      expect(await read('null')).toBe('before');
      expect(await read(versionId ?? '')).toBe('after');
      await backend().deleteObject({ bucket, key: 'k', versionId: versionId ?? '', authorize: anyone });
      expect((await get(backend(), { bucket, key: 'k' })).toString()).toBe('before');
      await backend().deleteObject({ bucket, key: 'k', versionId: 'null', authorize: anyone });
      await refusal(read('null'), 'NoSuchVersion');
    });

    it('is replaced, wherever it lies, while versioning is suspended', async () => {
      const { write, read, remove, setVersioning, list } = await versionedBucket(backend());
      await setVersioning('Suspended');
      expect(await write('k', 'null 1')).toBe('null');
      await setVersioning('Enabled');
      const one = await write('k', 'one');
      await setVersioning('Suspended');
      await write('k', 'null 2');
      expect((await list()).map(({ versionId }) => versionId)).toEqual(['null', one]);
      expect(await read('k', 'null')).toBe('null 2');
      expect(await remove('k')).toEqual({ versionId: 'null', deleteMarker: true });
      expect((await list()).map(({ versionId, deleteMarker }) => [versionId, deleteMarker])).toEqual([
        ['null', true],
        [one, false],
      ]);
      await refusal(read('k', 'null'), 'MethodNotAllowed');
      await write('k', 'null 3');
      expect(await read('k')).toBe('null 3');
      expect((await list()).map(({ versionId }) => versionId)).toEqual(['null', one]);
      expect(await remove('k', 'null')).toEqual({ versionId: 'null' });
      expect(await read('k')).toBe('one');
    });

    it('is still found when those above it are removed one by one', async () => {
      const { write, read, remove, setVersioning, list } = await versionedBucket(backend());
      const zero = await write('k', '0');
      await setVersioning('Suspended');
      await write('k', 'null');
      await setVersioning('Enabled');
      const ids = [await write('k', '1'), await write('k', '2')];
      await remove('k');
      for (const id of [(await list())[0]?.versionId ?? '', ...ids.toReversed()]) {
        expect(await read('k', 'null')).toBe('null');
        await remove('k', id);
      }
      expect(await read('k')).toBe('null');
      expect(await read('k', 'null')).toBe('null');
      await write('k', '3');
      await remove('k', 'null');
      await refusal(read('k', 'null'), 'NoSuchVersion');
      await setVersioning('Suspended');
      await write('k', 'null again');
      expect((await list()).map(({ versionId }) => versionId === zero)).toEqual([false, false, true]);
    });
  });

  describe('conditions in a versioned bucket', () => {
    it('of writes take a delete marker for nothing', async () => {
      const { bucket, write, remove } = await versionedBucket(backend());
      await write('k', 'x');
      await remove('k');
      const where = { bucket, key: 'k' };
      await refusal(put(backend(), where, 'y', { preconditions: { ifMatch: ['*'] } }), 'NoSuchKey');
      await put(backend(), where, 'y', { preconditions: { ifNoneMatch: ['*'] } });
      await refusal(
        put(backend(), where, 'z', { preconditions: { ifNoneMatch: ['*'] } }),
        'PreconditionFailed',
      );
    });

    it('of deletes hold for the version that is named, or for the newest', async () => {
      const { bucket, list } = await versionedBucket(backend());
      const where = { bucket, key: 'k', authorize: anyone };
      const wrong = { preconditions: { ifMatch: ['no'] } };
      await backend().deleteObject({ ...where, ...wrong });
      expect(await list()).toEqual([]);
      const { etag, versionId = '' } = await put(backend(), where, 'x');
      await put(backend(), where, 'newer');
      await refusal(backend().deleteObject({ ...where, ...wrong }), 'PreconditionFailed');
      await refusal(backend().deleteObject({ ...where, ...wrong, versionId }), 'PreconditionFailed');
      await backend().deleteObject({ ...where, versionId, preconditions: { ifMatch: [etag], sizeBytes: 1 } });
      await backend().deleteObject({ ...where, ...wrong, versionId });
      await backend().deleteObject({ ...where, preconditions: { ifMatch: ['*'] } });
      await refusal(backend().deleteObject({ ...where, ...wrong }), 'PreconditionFailed');
      expect(await list()).toHaveLength(2);
    });
  });

  describe('races of versions', () => {
    it('lose no write and no deletion, and the newest is the current one', async () => {
      const { write, read, remove, list } = await versionedBucket(backend());
      for (let round = 0; round < 4; round++) {
        const before = await list();
        const work = [
          ...Array.from({ length: 4 }, (_, i) => write('k', `${round}.${i}`)),
          remove('k'),
          remove('k'),
          ...before.slice(0, 4).map(({ versionId }) => remove('k', versionId)),
        ];
        const outcomes = await Promise.allSettled(work);
        const failed = outcomes.filter((outcome) => outcome.status === 'rejected');
        expect(
          failed.every(({ reason }) => reason instanceof BackendError && reason.code === 'SlowDown'),
        ).toBe(true);
        const gone = new Set(before.slice(0, 4).map(({ versionId }) => versionId));
        const after = await list();
        if (failed.length === 0) {
          expect(after).toHaveLength(before.length - gone.size + 6);
          expect(after.some(({ versionId }) => gone.has(versionId))).toBe(false);
        }
        expect(new Set(after.map(({ versionId }) => versionId)).size).toBe(after.length);
        const [newest] = after;
        if (newest?.deleteMarker === true) await refusal(read('k'), 'NoSuchKey');
        else expect(await read('k')).toBe(await read('k', newest?.versionId));
      }
    });

    it('between writers of If-None-Match: * on a delete marker have one winner', async () => {
      const { bucket, remove } = await versionedBucket(backend());
      await remove('k');
      const outcomes = await Promise.allSettled(
        Array.from({ length: 8 }, (_, i) =>
          put(backend(), { bucket, key: 'k' }, `${i}`, { preconditions: { ifNoneMatch: ['*'] } }),
        ),
      );
      expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    });
  });
}
