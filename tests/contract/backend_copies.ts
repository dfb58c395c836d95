import { describe, expect, it } from 'vitest';
import type { Backend, CopyObjectRequest, ObjectWritten } from '../../backend/backend.ts';
import { BackendError } from '../../backend/errors.ts';
import { alice, anyone, get, md5, newBucket, patternOf, put, refusal } from './requests.ts';

interface Place {
  readonly bucket: string;
  readonly key: string;
}

export function copyCases(backend: () => Backend): void {
  async function copy(
    from: Place & Partial<CopyObjectRequest['source']>,
    to: Place,
    more: Partial<CopyObjectRequest> = {},
  ): Promise<ObjectWritten> {
    return backend().copyObject({
      ...to,
      owner: alice,
      authorize: anyone,
      source: { authorize: anyone, ...from },
      ...more,
    });
  }

  describe('copies', () => {
    it('carry bytes and metadata, within and between buckets', async () => {
      const from = { bucket: await newBucket(backend()), key: 'from' };
      const to = { bucket: await newBucket(backend()), key: 'to' };
      const content = patternOf(200_000);
      const metadata = { system: { contentType: 'image/png' }, user: { a: 'b' } };
      await put(backend(), from, content, { metadata });
      expect((await copy(from, to)).etag).toBe(md5(content));
      expect((await get(backend(), to)).equals(content)).toBe(true);
      expect((await backend().headObject({ ...to, authorize: anyone })).metadata).toEqual(metadata);
      await backend().deleteObject({ ...from, authorize: anyone });
      expect((await get(backend(), to)).equals(content)).toBe(true);
    });

    it('replace metadata where it is given, also onto itself', async () => {
      const where = { bucket: await newBucket(backend()), key: 'k' };
      await put(backend(), where, 'x', { metadata: { system: {}, user: { old: '1' } } });
      await refusal(copy(where, where), 'InvalidRequest');
      await copy(where, where, { metadata: { system: { contentType: 'a/b' }, user: {} } });
      const head = await backend().headObject({ ...where, authorize: anyone });
      expect(head.metadata).toEqual({ system: { contentType: 'a/b' }, user: {} });
      expect((await get(backend(), where)).toString()).toBe('x');
    });

    it('keep the algorithm of the source’s checksum or take the one that is asked for', async () => {
      const from = { bucket: await newBucket(backend()), key: 'from' };
      const to = { ...from, key: 'to' };
      await put(backend(), from, '123456789');
      expect((await copy(from, to)).checksum?.value).toBe('rosUhgp5mIg=');
      expect((await copy(from, to, { checksumAlgorithm: 'CRC32' })).checksum).toEqual({
        algorithm: 'CRC32',
        type: 'FULL_OBJECT',
        value: 'y/Q5Jg==',
      });
      expect((await copy(to, from)).checksum?.algorithm).toBe('CRC32');
    });

    it('are refused where the source is not there, not allowed or not as asked', async () => {
      const from = { bucket: await newBucket(backend()), key: 'from' };
      const to = { ...from, key: 'to' };
      await refusal(copy(from, to), 'NoSuchKey');
      await refusal(copy({ ...from, bucket: 'no-such-bucket-here' }, to), 'NoSuchBucket');
      await put(backend(), from, 'x');
      const authorize = (): never => {
        throw new BackendError('AccessDenied', 'no');
      };
      await refusal(copy({ ...from, authorize }, to), 'AccessDenied');
      const unless = { preconditions: { ifNoneMatch: [md5('x')] } };
      await refusal(copy({ ...from, ...unless }, to), 'PreconditionFailed');
      await refusal(copy({ ...from, preconditions: { ifMatch: [md5('y')] } }, to), 'PreconditionFailed');
      await refusal(backend().headObject({ ...to, authorize: anyone }), 'NoSuchKey');
      await copy(from, to, { preconditions: { ifNoneMatch: ['*'] } });
      await refusal(copy(from, to, { preconditions: { ifNoneMatch: ['*'] } }), 'PreconditionFailed');
    });
  });
}
