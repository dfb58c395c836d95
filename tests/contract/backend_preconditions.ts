import { describe, expect, it } from 'vitest';
import type { Backend, Preconditions } from '../../backend/backend.ts';
import type { BackendErrorCode } from '../../backend/errors.ts';
import { anyone, get, md5, newBucket, put, refusal } from './requests.ts';

const other = md5('other');
const past = 1_000_000_000_000;
const future = 4_000_000_000_000;

export function preconditionCases(backend: () => Backend): void {
  describe('preconditions', () => {
    const etag = md5('x');
    it.each<[Preconditions, BackendErrorCode | 'answered']>([
      [{ ifMatch: [etag] }, 'answered'],
      [{ ifMatch: [other, etag] }, 'answered'],
      [{ ifMatch: ['*'] }, 'answered'],
      [{ ifMatch: [other] }, 'PreconditionFailed'],
      [{ ifNoneMatch: [other] }, 'answered'],
      [{ ifNoneMatch: [etag] }, 'NotModified'],
      [{ ifNoneMatch: ['*'] }, 'NotModified'],
      [{ ifModifiedSinceMs: past }, 'answered'],
      [{ ifModifiedSinceMs: future }, 'NotModified'],
      [{ ifUnmodifiedSinceMs: future }, 'answered'],
      [{ ifUnmodifiedSinceMs: past }, 'PreconditionFailed'],
      [{ ifMatch: [etag], ifUnmodifiedSinceMs: past }, 'answered'],
      [{ ifNoneMatch: [etag], ifModifiedSinceMs: past }, 'NotModified'],
      [{ ifNoneMatch: [other], ifModifiedSinceMs: future }, 'answered'],
      [{ ifMatch: [other], ifNoneMatch: [etag] }, 'PreconditionFailed'],
    ])('%j on a read: %s', async (preconditions, outcome) => {
      const where = { bucket: await newBucket(backend()), key: 'k' };
      await put(backend(), where, 'x');
      const request = { ...where, authorize: anyone, preconditions };
      if (outcome === 'answered') {
        expect((await backend().headObject(request)).etag).toBe(etag);
        const read = await backend().getObject(request);
        await read.body[Symbol.asyncIterator]().return?.();
      } else {
        const error = await refusal(backend().headObject(request), outcome);
        await refusal(backend().getObject(request), outcome);
        if (outcome === 'NotModified') expect(error.details['etag']).toBe(etag);
      }
    });

    it('a second If-Modified-Since of the answered time is not modified', async () => {
      const where = { bucket: await newBucket(backend()), key: 'k' };
      const { lastModifiedMs } = await put(backend(), where, 'x');
      const ifModifiedSinceMs = Math.floor(lastModifiedMs / 1000) * 1000;
      await refusal(
        backend().headObject({ ...where, authorize: anyone, preconditions: { ifModifiedSinceMs } }),
        'NotModified',
      );
    });

    it('guard writes', async () => {
      const where = { bucket: await newBucket(backend()), key: 'k' };
      const anyEtag = { preconditions: { ifMatch: ['*'] } };
      const none = { preconditions: { ifNoneMatch: ['*'] } };
      await refusal(put(backend(), where, 'x', anyEtag), 'NoSuchKey');
      await put(backend(), where, 'x', none);
      await refusal(put(backend(), where, 'y', none), 'PreconditionFailed');
      await refusal(
        put(backend(), where, 'y', { preconditions: { ifMatch: [other] } }),
        'PreconditionFailed',
      );
      await refusal(
        put(backend(), where, 'y', { preconditions: { ifNoneMatch: [etag] } }),
        'PreconditionFailed',
      );
      expect((await get(backend(), where)).toString()).toBe('x');
      await put(backend(), where, 'y', { preconditions: { ifMatch: [etag] } });
      expect((await get(backend(), where)).toString()).toBe('y');
    });

    it('guard deletes', async () => {
      const where = { bucket: await newBucket(backend()), key: 'k', authorize: anyone };
      const { lastModifiedMs } = await put(backend(), where, 'x');
      const wrong = [{ ifMatch: [other] }, { sizeBytes: 2 }, { lastModifiedMs: past }];
      for (const preconditions of wrong) {
        await refusal(backend().deleteObject({ ...where, preconditions }), 'PreconditionFailed');
      }
      await backend().deleteObject({
        ...where,
        preconditions: { ifMatch: [etag], sizeBytes: 1, lastModifiedMs },
      });
      await backend().deleteObject({ ...where, preconditions: { ifMatch: [etag] } });
      await refusal(backend().headObject(where), 'NoSuchKey');
    });
  });
}
