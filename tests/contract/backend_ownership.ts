import { describe, expect, it } from 'vitest';
import type { Backend, ExistingObject, Owner } from '../../backend/backend.ts';
import { BackendError } from '../../backend/errors.ts';
import { alice, anyone, bob, newBucket, put, refusal, startUpload, uploadParts } from './requests.ts';

/** Whose objects are, and their ACLs. */
export function ownershipCases(backend: () => Backend): void {
  describe('owners and ACLs of objects', () => {
    async function objectAt(where: { bucket: string; key: string }): Promise<ExistingObject | undefined> {
      let seen: ExistingObject | undefined;
      await backend().headObject({ ...where, authorize: (_, object) => void (seen = object) });
      return seen;
    }
    const owned = (owner: Owner, acl?: string) => () => ({ owner, ...(acl === undefined ? {} : { acl }) });

    it('are what is decided under the row of the bucket, and absent by default', async () => {
      const bucket = await newBucket(backend());
      await put(backend(), { bucket, key: 'plain' }, 'x');
      expect(await objectAt({ bucket, key: 'plain' })).toEqual({
        key: 'plain',
        owner: alice,
        versionId: 'null',
      });
      await put(backend(), { bucket, key: 'k' }, 'x', {
        ownership: ({ name }) => ({ owner: bob, acl: `of ${name}` }),
      });
      expect(await objectAt({ bucket, key: 'k' })).toMatchObject({ owner: bob, acl: `of ${bucket}` });
    });

    it('refuse a write before its body is read', async () => {
      const bucket = await newBucket(backend());
      let pulled = 0;
      const stream = (async function* () {
        pulled += 1;
        yield Buffer.from('x');
      })();
      const refused = put(backend(), { bucket, key: 'k' }, 'x', {
        body: { stream },
        ownership: () => {
          throw new BackendError('AccessDenied', 'no');
        },
      });
      await refusal(refused, 'AccessDenied');
      expect(pulled).toBe(0);
    });

    it('change without a new version, time or ETag', async () => {
      const where = { bucket: await newBucket(backend()), key: 'k' };
      await put(backend(), where, 'x', { ownership: owned(bob, 'one') });
      const before = await backend().headObject({ ...where, authorize: anyone });
      const given: unknown[] = [];
      await backend().updateObjectAcl({
        ...where,
        authorize: anyone,
        change: (bucket, object) => {
          given.push(bucket.name, object.owner, object.acl);
          return 'two';
        },
      });
      expect(given).toEqual([where.bucket, bob, 'one']);
      expect(await objectAt(where)).toMatchObject({ owner: bob, acl: 'two' });
      expect(await backend().headObject({ ...where, authorize: anyone })).toEqual(before);
      await backend().updateObjectAcl({ ...where, authorize: anyone, change: () => undefined });
      expect(await objectAt(where)).toEqual({ key: 'k', owner: bob, versionId: 'null' });
    });

    it('can not be changed on what is not there', async () => {
      const where = { bucket: await newBucket(backend()), key: 'k', authorize: anyone, change: () => 'x' };
      await refusal(backend().updateObjectAcl(where), 'NoSuchKey');
      await refusal(backend().updateObjectAcl({ ...where, bucket: `${where.bucket}-no` }), 'NoSuchBucket');
    });

    it('stay with an upload, are not copied, and go with an overwrite', async () => {
      const bucket = await newBucket(backend());
      const { uploadId } = await backend().createMultipartUpload({
        ...{ bucket, key: 'up', owner: alice, authorize: anyone, metadata: { system: {}, user: {} } },
        ownership: owned(bob, 'kept'),
      });
      const upload = { bucket, key: 'up', uploadId, authorize: anyone };
      const page = await backend().listParts({ ...upload, partNumberMarker: 0, maxParts: 1 });
      expect(page).toMatchObject({ owner: bob, initiator: alice });
      const uploads = await backend().listMultipartUploads({
        ...{ bucket, prefix: '', maxUploads: 10, authorize: anyone },
      });
      expect(uploads.uploads[0]).toMatchObject({ owner: bob, initiator: alice });
      await backend().completeMultipartUpload({
        ...upload,
        parts: await uploadParts(backend(), upload, ['x']),
      });
      expect(await objectAt({ bucket, key: 'up' })).toMatchObject({ owner: bob, acl: 'kept' });

      await backend().copyObject({
        ...{ bucket, key: 'copy', owner: alice, authorize: anyone },
        source: { bucket, key: 'up', authorize: anyone },
      });
      expect(await objectAt({ bucket, key: 'copy' })).toEqual({
        ...{ key: 'copy', owner: alice, versionId: 'null' },
      });
      await put(backend(), { bucket, key: 'up' }, 'y');
      expect(await objectAt({ bucket, key: 'up' })).not.toHaveProperty('acl');
      const plain = await startUpload(backend(), { bucket, key: 'p' });
      const parts = await backend().listParts({ ...plain, partNumberMarker: 0, maxParts: 1 });
      expect(parts).toMatchObject({ owner: alice, initiator: alice });
    });
  });
}
