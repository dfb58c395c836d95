import { describe, expect, it } from 'vitest';
import type { Backend } from '../../backend/backend.ts';
import { BackendError } from '../../backend/errors.ts';
import { alice, anyone, bob, newBucket, put, refusal, region, startUpload } from './requests.ts';

export function bucketCases(backend: () => Backend): void {
  describe('buckets', () => {
    it('are made, found, listed in order by their owner alone, and deleted', async () => {
      const first = await newBucket(backend());
      const second = await newBucket(backend());
      const others = await newBucket(backend(), bob);
      const info = await backend().headBucket({ bucket: first, authorize: anyone });
      expect(info).toMatchObject({ name: first, owner: alice, region, public: false });
      expect(Math.abs(info.createdMs - Date.now())).toBeLessThan(60_000);
      const { buckets } = await backend().listBuckets({ owner: alice, maxBuckets: 10_000 });
      const names = buckets.map(({ name }) => name);
      expect(names).toEqual(expect.arrayContaining([first, second]));
      expect(names).not.toContain(others);
      expect(names).toEqual([...names].sort());
      await backend().deleteBucket({ bucket: first, authorize: anyone });
      await refusal(backend().headBucket({ bucket: first, authorize: anyone }), 'NoSuchBucket');
    });

    it('are listed page by page, by prefix', async () => {
      const made = [await newBucket(backend()), await newBucket(backend()), await newBucket(backend())];
      const prefix = 'contract-';
      const seen: string[] = [];
      let startAfter: string | undefined;
      do {
        const page = await backend().listBuckets({
          owner: alice,
          prefix,
          maxBuckets: 2,
          ...(startAfter === undefined ? {} : { startAfter }),
        });
        expect(page.buckets.length).toBeLessThanOrEqual(2);
        seen.push(...page.buckets.map(({ name }) => name));
        startAfter = page.next;
      } while (startAfter !== undefined);
      expect(seen).toEqual(expect.arrayContaining(made));
      expect(new Set(seen).size).toBe(seen.length);
    });

    it('belong to who made them', async () => {
      const bucket = await newBucket(backend());
      await refusal(backend().createBucket({ bucket, owner: bob, region }), 'BucketAlreadyExists');
      await refusal(backend().createBucket({ bucket, owner: alice, region }), 'BucketAlreadyOwnedByYou');
    });

    it.each([
      'ab',
      'a'.repeat(64),
      'Upper',
      '-a-',
      'a..b',
      'a.-b',
      '192.168.5.4',
      'xn--abc',
      'abc-s3alias',
      'a_b',
      '',
    ])('refuse the name %j', async (bucket) => {
      await refusal(backend().createBucket({ bucket, owner: alice, region }), 'InvalidBucketName');
    });

    it('stay as long as they hold objects, but not for uploads in flight', async () => {
      const bucket = await newBucket(backend());
      await put(backend(), { bucket, key: 'k' }, 'x');
      await refusal(backend().deleteBucket({ bucket, authorize: anyone }), 'BucketNotEmpty');
      await backend().deleteObject({ bucket, key: 'k', authorize: anyone });
      const upload = await startUpload(backend(), { bucket, key: 'k' });
      await backend().deleteBucket({ bucket, authorize: anyone });
      await backend().createBucket({ bucket, owner: alice, region });
      await refusal(backend().listParts({ ...upload, partNumberMarker: 0, maxParts: 10 }), 'NoSuchUpload');
    });

    it('ask whether the request may go on before they tell or change anything', async () => {
      const bucket = await newBucket(backend());
      await put(backend(), { bucket, key: 'k' }, 'kept');
      const authorize = (): never => {
        throw new BackendError('AccessDenied', 'no');
      };
      const where = { bucket, key: 'k', authorize };
      await refusal(backend().headBucket(where), 'AccessDenied');
      await refusal(backend().deleteBucket(where), 'AccessDenied');
      await refusal(backend().getObject(where), 'AccessDenied');
      await refusal(backend().headObject({ ...where, key: 'absent' }), 'AccessDenied');
      await refusal(backend().deleteObject(where), 'AccessDenied');
      await refusal(put(backend(), where, 'new', { authorize }), 'AccessDenied');
      await refusal(backend().listObjects({ bucket, authorize, prefix: '', maxKeys: 1 }), 'AccessDenied');
      await refusal(backend().listObjects({ bucket, authorize, prefix: '', maxKeys: 0 }), 'AccessDenied');
      await refusal(
        backend().listObjectVersions({ bucket, authorize, prefix: '', maxKeys: 1 }),
        'AccessDenied',
      );
      await refusal(
        backend().listMultipartUploads({ bucket, authorize, prefix: '', maxUploads: 1 }),
        'AccessDenied',
      );
      await refusal(
        backend().createMultipartUpload({ ...where, owner: alice, metadata: { system: {}, user: {} } }),
        'AccessDenied',
      );
      const upload = await startUpload(backend(), { bucket, key: 'k' });
      await refusal(backend().abortMultipartUpload({ ...upload, authorize }), 'AccessDenied');
      await refusal(
        backend().completeMultipartUpload({ ...upload, authorize, parts: [{ partNumber: 1, etag: 'x' }] }),
        'AccessDenied',
      );
      const { objects } = await backend().listObjects({ bucket, authorize: anyone, prefix: '', maxKeys: 10 });
      expect(objects).toHaveLength(1);
      expect(objects[0]?.sizeBytes).toBe(4);
    });

    it('that are not there refuse everything', async () => {
      const where = { bucket: 'no-such-bucket-here', key: 'k', authorize: anyone };
      await refusal(backend().headBucket(where), 'NoSuchBucket');
      await refusal(backend().deleteBucket(where), 'NoSuchBucket');
      await refusal(backend().getObject(where), 'NoSuchBucket');
      await refusal(backend().deleteObject(where), 'NoSuchBucket');
      await refusal(put(backend(), where, 'x'), 'NoSuchBucket');
      await refusal(backend().listObjects({ ...where, prefix: '', maxKeys: 1 }), 'NoSuchBucket');
      await refusal(startUpload(backend(), where), 'NoSuchBucket');
    });
  });
}
