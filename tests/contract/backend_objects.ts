import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import type { Backend, ChecksumAlgorithm, IncomingBody } from '../../backend/backend.ts';
import { alice, anyone, bodyOf, bytesOf, get, md5, newBucket, patternOf, put, refusal } from './requests.ts';

export function objectCases(backend: () => Backend): void {
  describe('objects', () => {
    it.each([0, 1, 4095, 65_536, 65_537, 1_048_576, 3_000_001])(
      'of %d bytes come back as they went in',
      async (size) => {
        const where = { bucket: await newBucket(backend()), key: 'some/key' };
        const content = patternOf(size, size);
        const written = await put(backend(), where, content);
        expect(written).toMatchObject({ etag: md5(content), sizeBytes: size });
        expect(written.versionId).toBeUndefined();
        const read = await backend().getObject({ ...where, authorize: anyone });
        expect(read).toMatchObject({
          key: where.key,
          sizeBytes: size,
          etag: md5(content),
          lastModifiedMs: written.lastModifiedMs,
          storageClass: 'STANDARD',
        });
        expect(read.range).toBeUndefined();
        expect((await bytesOf(read)).equals(content)).toBe(true);
        const { body: _body, ...head } = read;
        expect(await backend().headObject({ ...where, authorize: anyone })).toEqual(head);
      },
    );

    it('keep system headers and user metadata', async () => {
      const where = { bucket: await newBucket(backend()), key: 'k' };
      const metadata = {
        system: {
          contentType: 'text/x-test',
          cacheControl: 'no-store',
          contentEncoding: 'gzip',
          expires: 'never',
        },
        user: Object.fromEntries([
          ['one', '1'],
          ['__proto__', 'kept'],
          ['umlaut', 'ä'],
        ]),
      };
      await put(backend(), where, 'x', { metadata });
      const head = await backend().headObject({ ...where, authorize: anyone });
      expect(head.metadata.system).toEqual(metadata.system);
      expect(Object.entries(head.metadata.user)).toEqual(Object.entries(metadata.user));
    });

    it('are replaced whole, and time never goes back', async () => {
      const where = { bucket: await newBucket(backend()), key: 'k' };
      const first = await put(backend(), where, 'first');
      const second = await put(backend(), where, 'second, longer');
      expect(second.lastModifiedMs).toBeGreaterThan(first.lastModifiedMs);
      expect((await get(backend(), where)).toString()).toBe('second, longer');
    });

    it('are gone when they were deleted, and deleting again succeeds', async () => {
      const where = { bucket: await newBucket(backend()), key: 'k' };
      await put(backend(), where, 'x');
      await backend().deleteObject({ ...where, authorize: anyone });
      await refusal(backend().getObject({ ...where, authorize: anyone }), 'NoSuchKey');
      await refusal(backend().headObject({ ...where, authorize: anyone }), 'NoSuchKey');
      expect(await backend().deleteObject({ ...where, authorize: anyone })).toEqual({});
    });

    it('have no versions but null where the bucket is not versioned', async () => {
      const where = { bucket: await newBucket(backend()), key: 'k', authorize: anyone };
      await put(backend(), where, 'x');
      expect((await backend().headObject({ ...where, versionId: 'null' })).sizeBytes).toBe(1);
      await refusal(backend().headObject({ ...where, versionId: 'other' }), 'NoSuchVersion');
      await backend().deleteObject({ ...where, versionId: 'other' });
      expect((await get(backend(), where)).toString()).toBe('x');
      await backend().deleteObject({ ...where, versionId: 'null' });
      await refusal(backend().headObject(where), 'NoSuchKey');
    });

    it.each([
      'a',
      'a/',
      'a/b',
      '/',
      '//',
      '/leading',
      'a//b',
      '.',
      '..',
      '../..',
      'a/../b',
      'a/./b',
      '.s3d/tmp/x',
      '.s3d',
      'nul\u0000byte',
      'new\nline',
      'bell\u0007',
      '\u{1F600}',
      'ﬀ',
      'a b+c%20',
      '\\',
      'x'.repeat(1024),
      `${'d/'.repeat(511)}ee`,
      'ü'.repeat(512),
      'y'.repeat(256),
      `${'z'.repeat(255)}/${'z'.repeat(255)}`,
    ])('may be called %j', async (key) => {
      const bucket = await newBucket(backend());
      await put(backend(), { bucket, key }, key);
      await put(backend(), { bucket, key: 'a' }, 'beside');
      expect((await get(backend(), { bucket, key })).toString()).toBe(key === 'a' ? 'beside' : key);
      const { objects } = await backend().listObjects({ bucket, prefix: '', maxKeys: 10, authorize: anyone });
      expect(objects.map((object) => object.key)).toEqual(
        [...new Set([key, 'a'])].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))),
      );
      await backend().deleteObject({ bucket, key, authorize: anyone });
      await refusal(backend().getObject({ bucket, key, authorize: anyone }), 'NoSuchKey');
    });

    it('refuse keys that are too long or no UTF-8', async () => {
      const bucket = await newBucket(backend());
      await refusal(put(backend(), { bucket, key: 'x'.repeat(1025) }, ''), 'KeyTooLongError');
      await refusal(put(backend(), { bucket, key: 'ü'.repeat(513) }, ''), 'KeyTooLongError');
      await refusal(put(backend(), { bucket, key: '\ud800' }, ''), 'InvalidArgument');
    });

    it('answer ranges', async () => {
      const where = { bucket: await newBucket(backend()), key: 'k', authorize: anyone };
      const content = patternOf(300_000);
      await put(backend(), where, content);
      const cases = [
        { range: { start: 0, end: 0 }, start: 0, end: 0 },
        { range: { start: 65_530, end: 65_540 }, start: 65_530, end: 65_540 },
        { range: { start: 131_072 }, start: 131_072, end: 299_999 },
        { range: { start: 299_999, end: 999_999 }, start: 299_999, end: 299_999 },
        { range: { suffix: 10 }, start: 299_990, end: 299_999 },
        { range: { suffix: 999_999 }, start: 0, end: 299_999 },
      ];
      for (const { range, start, end } of cases) {
        const read = await backend().getObject({ ...where, range });
        expect(read.range).toEqual({ start, end });
        expect(read.sizeBytes).toBe(300_000);
        expect((await bytesOf(read)).equals(content.subarray(start, end + 1))).toBe(true);
      }
      await refusal(backend().getObject({ ...where, range: { start: 300_000 } }), 'InvalidRange');
      await refusal(backend().getObject({ ...where, range: { suffix: 0 } }), 'InvalidRange');
      await put(backend(), where, '');
      await refusal(backend().getObject({ ...where, range: { start: 0 } }), 'InvalidRange');
    });

    it('know only part 1 where they came in one piece', async () => {
      const where = { bucket: await newBucket(backend()), key: 'k', authorize: anyone };
      await put(backend(), where, 'whole');
      const read = await backend().getObject({ ...where, partNumber: 1 });
      expect((await bytesOf(read)).toString()).toBe('whole');
      expect(read.partsCount).toBeUndefined();
      await refusal(backend().getObject({ ...where, partNumber: 2 }), 'InvalidPart');
    });

    it('get CRC64NVME where the client brings no checksum', async () => {
      const where = { bucket: await newBucket(backend()), key: 'k', authorize: anyone };
      const checksum = { algorithm: 'CRC64NVME', type: 'FULL_OBJECT', value: 'rosUhgp5mIg=' };
      expect((await put(backend(), where, '123456789')).checksum).toEqual(checksum);
      expect((await backend().headObject(where)).checksum).toEqual(checksum);
      const { objects } = await backend().listObjects({ ...where, prefix: '', maxKeys: 1 });
      expect(objects[0]?.checksum).toEqual({ algorithm: 'CRC64NVME', type: 'FULL_OBJECT' });
    });

    it.each<[ChecksumAlgorithm, string]>([
      ['CRC32', uint32Base64(crc32('123456789'))],
      ['CRC32C', uint32Base64(0xe3069283)],
      ['CRC64NVME', 'rosUhgp5mIg='],
      ['SHA1', createHash('sha1').update('123456789').digest('base64')],
      ['SHA256', createHash('sha256').update('123456789').digest('base64')],
    ])('verify and keep the client’s %s', async (algorithm, value) => {
      const where = { bucket: await newBucket(backend()), key: 'k', authorize: anyone };
      const bodyWith = (claimed: string | undefined): IncomingBody => ({
        ...bodyOf('123456789', 4),
        checksum: { algorithm, value: () => claimed },
      });
      const written = await put(backend(), where, '', { body: bodyWith(value) });
      expect(written.checksum).toEqual({ algorithm, type: 'FULL_OBJECT', value });
      expect((await backend().headObject(where)).checksum).toEqual(written.checksum);
      const wrong = Buffer.alloc(Buffer.from(value, 'base64').length).toString('base64');
      await refusal(put(backend(), { ...where, key: 'wrong' }, '', { body: bodyWith(wrong) }), 'BadDigest');
      await refusal(
        put(backend(), { ...where, key: 'wrong' }, '', { body: bodyWith('AAAA') }),
        'InvalidRequest',
      );
      await refusal(backend().headObject({ ...where, key: 'wrong' }), 'NoSuchKey');
      expect((await put(backend(), where, '', { body: bodyWith(undefined) })).checksum?.value).toBe(value);
    });

    it('that are not what was announced are not kept', async () => {
      const where = { bucket: await newBucket(backend()), key: 'k', authorize: anyone };
      const wrongMd5 = { ...bodyOf('abc'), contentMd5: new Uint8Array(16) };
      await refusal(put(backend(), where, '', { body: wrongMd5 }), 'BadDigest');
      await refusal(
        put(backend(), where, '', { body: { ...bodyOf('abc'), sizeBytes: 4 } }),
        'IncompleteBody',
      );
      await refusal(
        put(backend(), where, '', { body: { ...bodyOf('abc'), sizeBytes: 2 } }),
        'IncompleteBody',
      );
      const tooLarge = { ...bodyOf('abc'), sizeBytes: 5 * 1024 ** 3 + 1 };
      await refusal(put(backend(), where, '', { body: tooLarge }), 'EntityTooLarge');
      const right = { ...bodyOf('abc'), contentMd5: createHash('md5').update('abc').digest() };
      await refusal(backend().headObject(where), 'NoSuchKey');
      await put(backend(), where, '', { body: right });
      expect((await get(backend(), where)).toString()).toBe('abc');
    });

    it('whose client goes away mid-body are not kept, and what was there stays', async () => {
      const where = { bucket: await newBucket(backend()), key: 'k', authorize: anyone };
      await put(backend(), where, 'before');
      const gone = new Error('the client went away');
      async function* broken(): AsyncGenerator<Uint8Array> {
        yield patternOf(200_000);
        throw gone;
      }
      await expect(
        put(backend(), where, '', { body: { stream: broken(), sizeBytes: 400_000 } }),
      ).rejects.toBe(gone);
      const aborting = new AbortController();
      async function* slow(): AsyncGenerator<Uint8Array> {
        yield patternOf(200_000);
        aborting.abort(gone);
        yield patternOf(200_000);
      }
      await expect(
        backend().putObject({
          ...where,
          owner: alice,
          metadata: { system: {}, user: {} },
          body: { stream: slow(), sizeBytes: 400_000 },
          signal: aborting.signal,
        }),
      ).rejects.toThrow();
      expect((await get(backend(), where)).toString()).toBe('before');
    });

    it('may be left unread or half read', async () => {
      const where = { bucket: await newBucket(backend()), key: 'k', authorize: anyone };
      await put(backend(), where, patternOf(3_000_000));
      const unread = await backend().getObject(where);
      await unread.body[Symbol.asyncIterator]().return?.();
      const half = await backend().getObject(where);
      for await (const piece of half.body) {
        expect(piece.length).toBeGreaterThan(0);
        break;
      }
    });
  });
}

function uint32Base64(value: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes.toString('base64');
}
