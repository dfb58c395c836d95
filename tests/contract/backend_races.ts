import { describe, expect, it } from 'vitest';
import type { Backend } from '../../backend/backend.ts';
import { BackendError } from '../../backend/errors.ts';
import {
  alice,
  anyone,
  bodyOf,
  get,
  keysOf,
  newBucket,
  patternOf,
  put,
  region,
  startUpload,
  uploadParts,
} from './requests.ts';

const minPartBytes = 5 * 1024 * 1024;

function codesOf(outcomes: readonly PromiseSettledResult<unknown>[]): string[] {
  return outcomes.map((outcome) => {
    if (outcome.status === 'fulfilled') return 'done';
    const reason: unknown = outcome.reason;
    return reason instanceof BackendError ? reason.code : String(reason);
  });
}

export function raceCases(backend: () => Backend): void {
  describe('races', () => {
    it('have one winner where many writers bring If-None-Match: *', async () => {
      const where = { bucket: await newBucket(backend()), key: 'k' };
      const outcomes = await Promise.allSettled(
        Array.from({ length: 16 }, (_, i) =>
          put(backend(), where, `writer ${i}`, { preconditions: { ifNoneMatch: ['*'] } }),
        ),
      );
      const codes = codesOf(outcomes);
      expect(codes.filter((code) => code === 'done')).toHaveLength(1);
      expect(new Set(codes)).toEqual(new Set(['done', 'PreconditionFailed']));
      expect((await get(backend(), where)).toString()).toBe(`writer ${codes.indexOf('done')}`);
    });

    it('have one winner where many writers bring the same If-Match', async () => {
      const where = { bucket: await newBucket(backend()), key: 'k' };
      const { etag } = await put(backend(), where, 'before');
      const outcomes = await Promise.allSettled(
        Array.from({ length: 8 }, (_, i) =>
          put(backend(), where, `writer ${i}`, { preconditions: { ifMatch: [etag] } }),
        ),
      );
      expect(codesOf(outcomes).filter((code) => code === 'done')).toHaveLength(1);
    });

    it('between writers of one key end with the whole content of one of them', async () => {
      const where = { bucket: await newBucket(backend()), key: 'k' };
      const contents = Array.from({ length: 6 }, (_, i) => patternOf(150_000, i + 1));
      const outcomes = await Promise.allSettled(contents.map((content) => put(backend(), where, content)));
      expect(codesOf(outcomes)).toEqual(contents.map(() => 'done'));
      const left = await get(backend(), where);
      expect(contents.some((content) => content.equals(left))).toBe(true);
      const listed = await backend().listObjectVersions({
        bucket: where.bucket,
        prefix: '',
        maxKeys: 10,
        authorize: anyone,
      });
      expect(listed.versions).toHaveLength(1);
    });

    it('between Complete and Abort leave the whole object or none', async () => {
      const content = patternOf(minPartBytes);
      for (let round = 0; round < 8; round++) {
        const upload = await startUpload(backend(), { bucket: await newBucket(backend()), key: 'k' });
        const parts = await uploadParts(backend(), upload, [content, 'end']);
        const [completed, aborted] = codesOf(
          await Promise.allSettled([
            backend().completeMultipartUpload({ ...upload, parts }),
            backend().abortMultipartUpload(upload),
          ]),
        );
        expect([completed, aborted].filter((code) => code === 'done')).toHaveLength(1);
        expect([completed, aborted]).toContain('NoSuchUpload');
        const keys = await keysOf(backend(), upload.bucket);
        expect(keys).toEqual(completed === 'done' ? ['k'] : []);
        if (completed === 'done') expect((await get(backend(), upload)).length).toBe(content.length + 3);
      }
    });

    it('between two Completes answer both alike', async () => {
      const upload = await startUpload(backend(), { bucket: await newBucket(backend()), key: 'k' });
      const parts = await uploadParts(backend(), upload, ['only']);
      const [first, second] = await Promise.all([
        backend().completeMultipartUpload({ ...upload, parts }),
        backend().completeMultipartUpload({ ...upload, parts }),
      ]);
      expect(second).toEqual(first);
      expect((await get(backend(), upload)).toString()).toBe('only');
    });

    it('between a part and Complete never tear the object', async () => {
      for (let round = 0; round < 6; round++) {
        const upload = await startUpload(backend(), { bucket: await newBucket(backend()), key: 'k' });
        const parts = await uploadParts(backend(), upload, ['first']);
        const [completed, sent] = codesOf(
          await Promise.allSettled([
            backend().completeMultipartUpload({ ...upload, parts }),
            backend().uploadPart({ ...upload, partNumber: 1, body: bodyOf('other') }),
          ]),
        );
        if (completed === 'done') expect((await get(backend(), upload)).toString()).toBe('first');
        else expect([completed, sent]).toEqual(['InvalidPart', 'done']);
      }
    });
  });
}

export function bucketRaceCases(backend: () => Backend): void {
  describe('races for buckets', () => {
    it('between deleting a bucket and writing into it leave a bucket with its object, or neither', async () => {
      for (let round = 0; round < 12; round++) {
        const bucket = await newBucket(backend());
        const [deleted, written] = codesOf(
          await Promise.allSettled([
            backend().deleteBucket({ bucket, authorize: anyone }),
            put(backend(), { bucket, key: 'k' }, 'x'),
          ]),
        );
        if (written === 'done') {
          expect(deleted).toBe('BucketNotEmpty');
          expect((await get(backend(), { bucket, key: 'k' })).toString()).toBe('x');
        } else {
          expect([deleted, written]).toEqual(['done', 'NoSuchBucket']);
          await backend().createBucket({ bucket, owner: alice, region });
          expect(await keysOf(backend(), bucket)).toEqual([]);
        }
      }
    });

    it('between making the same bucket have one winner', async () => {
      const bucket = `${await newBucket(backend())}-race`;
      const outcomes = await Promise.allSettled(
        Array.from({ length: 8 }, () => backend().createBucket({ bucket, owner: alice, region })),
      );
      expect(codesOf(outcomes).sort()).toEqual([...Array<string>(7).fill('BucketAlreadyOwnedByYou'), 'done']);
    });
  });
}
