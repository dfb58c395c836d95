import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { Backend, ChecksumAlgorithm, ChecksumType } from '../../backend/backend.ts';
import {
  alice,
  anyone,
  bodyOf,
  bytesOf,
  get,
  keysOf,
  md5,
  newBucket,
  patternOf,
  put,
  refusal,
  startUpload,
  uploadParts,
} from './requests.ts';

const minPartBytes = 5 * 1024 * 1024;
const big = patternOf(minPartBytes, 7);
const big2 = patternOf(minPartBytes + 13, 8);
const small = patternOf(1000, 9);

function etagOf(...parts: readonly Uint8Array[]): string {
  const hash = createHash('md5');
  for (const part of parts) hash.update(createHash('md5').update(part).digest());
  return `${hash.digest('hex')}-${parts.length}`;
}

export function multipartCases(backend: () => Backend): void {
  describe('multipart uploads', () => {
    it('make one object of their parts', async () => {
      const bucket = await newBucket(backend());
      const upload = await startUpload(backend(), { bucket, key: 'k' });
      const parts = await uploadParts(backend(), upload, [big, big2, small]);
      expect(await keysOf(backend(), bucket)).toEqual([]);
      const written = await backend().completeMultipartUpload({ ...upload, parts });
      expect(written.etag).toBe(etagOf(big, big2, small));
      const whole = Buffer.concat([big, big2, small]);
      expect(written.sizeBytes).toBe(whole.length);
      expect((await get(backend(), upload)).equals(whole)).toBe(true);
      const head = await backend().headObject(upload);
      expect(head).toMatchObject({ partsCount: 3, etag: written.etag, sizeBytes: whole.length });
      expect(head.checksum).toMatchObject({ algorithm: 'CRC64NVME', type: 'FULL_OBJECT' });
      // The full-object checksum is that of the same bytes in one piece.
      const single = await put(backend(), { bucket, key: 'single' }, whole);
      expect(single.checksum).toEqual(written.checksum);
      await refusal(backend().listParts({ ...upload, partNumberMarker: 0, maxParts: 10 }), 'NoSuchUpload');
    });

    it('answer ranges across parts and single parts', async () => {
      const upload = await startUpload(backend(), { bucket: await newBucket(backend()), key: 'k' });
      const parts = await uploadParts(backend(), upload, [big, big2, small]);
      await backend().completeMultipartUpload({ ...upload, parts });
      const whole = Buffer.concat([big, big2, small]);
      const edges = [
        0,
        1,
        big.length - 1,
        big.length,
        big.length + 1,
        big.length + big2.length,
        whole.length - 1,
      ];
      for (const start of edges) {
        for (const end of [start, start + 5, whole.length - 1]) {
          const read = await backend().getObject({ ...upload, range: { start, end } });
          expect((await bytesOf(read)).equals(whole.subarray(start, end + 1))).toBe(true);
        }
      }
      for (const [i, part] of [big, big2, small].entries()) {
        const read = await backend().getObject({ ...upload, partNumber: i + 1 });
        expect(read.partsCount).toBe(3);
        expect((await bytesOf(read)).equals(part)).toBe(true);
      }
      await refusal(backend().getObject({ ...upload, partNumber: 4 }), 'InvalidPart');
      const head = await backend().headObject({ ...upload, parts: { after: 1, max: 1 } });
      expect(head.parts).toMatchObject([{ partNumber: 2, sizeBytes: big2.length }]);
    });

    it('may have one small part, or an empty one', async () => {
      const bucket = await newBucket(backend());
      for (const content of ['tiny', '']) {
        const upload = await startUpload(backend(), { bucket, key: 'k' });
        const parts = await uploadParts(backend(), upload, [content]);
        const written = await backend().completeMultipartUpload({ ...upload, parts });
        expect(written.etag).toBe(etagOf(Buffer.from(content)));
        expect((await get(backend(), upload)).toString()).toBe(content);
      }
    });

    it('take the last upload of a part, in any order of numbers, and drop parts that are not named', async () => {
      const upload = await startUpload(backend(), { bucket: await newBucket(backend()), key: 'k' });
      const send = async (
        partNumber: number,
        content: Uint8Array,
      ): Promise<{ partNumber: number; etag: string }> => ({
        partNumber,
        etag: (await backend().uploadPart({ ...upload, partNumber, body: bodyOf(content) })).etag,
      });
      const last = await send(10_000, small);
      const replaced = await send(7, small);
      const kept = await send(7, big);
      await send(500, big2);
      await refusal(backend().completeMultipartUpload({ ...upload, parts: [replaced, last] }), 'InvalidPart');
      await backend().completeMultipartUpload({ ...upload, parts: [kept, last] });
      expect((await get(backend(), upload)).equals(Buffer.concat([big, small]))).toBe(true);
      const second = await backend().getObject({ ...upload, partNumber: 10_000 });
      expect((await bytesOf(second)).equals(small)).toBe(true);
    });

    it('refuse what S3 refuses', async () => {
      const bucket = await newBucket(backend());
      const upload = await startUpload(backend(), { bucket, key: 'k' });
      const parts = await uploadParts(backend(), upload, [small, small]);
      const [first, second] = parts;
      const complete = async (named: typeof parts, more: object = {}): Promise<unknown> =>
        backend().completeMultipartUpload({ ...upload, parts: named, ...more });
      await refusal(complete(parts), 'EntityTooSmall');
      await refusal(complete([second!, first!]), 'InvalidPartOrder');
      await refusal(complete([first!, first!]), 'InvalidPartOrder');
      await refusal(complete([{ partNumber: 3, etag: first!.etag }]), 'InvalidPart');
      await refusal(complete([{ partNumber: 1, etag: md5('') }]), 'InvalidPart');
      await refusal(complete([]), 'InvalidRequest');
      await refusal(complete([second!], { sizeBytes: 1 }), 'InvalidRequest');
      await refusal(complete([second!], { preconditions: { ifMatch: ['*'] } }), 'NoSuchKey');
      for (const partNumber of [0, 10_001, 1.5]) {
        await refusal(backend().uploadPart({ ...upload, partNumber, body: bodyOf('') }), 'InvalidArgument');
      }
      for (const uploadId of ['', 'nonsense', '0'.repeat(32)]) {
        const wrong = { ...upload, uploadId };
        await refusal(backend().uploadPart({ ...wrong, partNumber: 1, body: bodyOf('') }), 'NoSuchUpload');
        await refusal(backend().completeMultipartUpload({ ...wrong, parts }), 'NoSuchUpload');
        await refusal(backend().abortMultipartUpload(wrong), 'NoSuchUpload');
      }
      await refusal(
        backend().uploadPart({ ...upload, key: 'other', partNumber: 1, body: bodyOf('') }),
        'NoSuchUpload',
      );
      expect(await keysOf(backend(), bucket)).toEqual([]);
      await complete([second!], { preconditions: { ifNoneMatch: ['*'] }, sizeBytes: small.length });
    });

    it('answer a second Complete as the first, and only the same one', async () => {
      const upload = await startUpload(backend(), { bucket: await newBucket(backend()), key: 'k' });
      const parts = await uploadParts(backend(), upload, [big, small]);
      const first = await backend().completeMultipartUpload({ ...upload, parts });
      expect(await backend().completeMultipartUpload({ ...upload, parts })).toEqual(first);
      await refusal(backend().completeMultipartUpload({ ...upload, parts: [parts[0]!] }), 'NoSuchUpload');
      await refusal(backend().abortMultipartUpload(upload), 'NoSuchUpload');
      expect((await get(backend(), upload)).length).toBe(big.length + small.length);
    });

    it('are gone after Abort', async () => {
      const upload = await startUpload(backend(), { bucket: await newBucket(backend()), key: 'k' });
      const parts = await uploadParts(backend(), upload, [small]);
      await backend().abortMultipartUpload(upload);
      await refusal(backend().uploadPart({ ...upload, partNumber: 2, body: bodyOf('') }), 'NoSuchUpload');
      await refusal(backend().completeMultipartUpload({ ...upload, parts }), 'NoSuchUpload');
      await refusal(backend().abortMultipartUpload(upload), 'NoSuchUpload');
    });

    it('keep the metadata that they began with', async () => {
      const where = { bucket: await newBucket(backend()), key: 'k' };
      const metadata = { system: { contentType: 'video/mp4' }, user: { take: '2' } };
      const { uploadId } = await backend().createMultipartUpload({
        ...where,
        owner: alice,
        metadata,
        authorize: anyone,
      });
      const upload = { ...where, uploadId, authorize: anyone };
      const parts = await uploadParts(backend(), upload, ['x']);
      await backend().completeMultipartUpload({ ...upload, parts });
      expect((await backend().headObject(upload)).metadata).toEqual(metadata);
    });

    it('list their parts page by page', async () => {
      const upload = await startUpload(backend(), { bucket: await newBucket(backend()), key: 'k' });
      const parts = await uploadParts(backend(), upload, ['a', 'bb', 'ccc']);
      const first = await backend().listParts({ ...upload, partNumberMarker: 0, maxParts: 2 });
      expect(first).toMatchObject({ owner: alice, storageClass: 'STANDARD', next: 2 });
      expect(first.parts.map(({ partNumber, etag, sizeBytes }) => [partNumber, etag, sizeBytes])).toEqual([
        [1, parts[0]!.etag, 1],
        [2, parts[1]!.etag, 2],
      ]);
      const rest = await backend().listParts({ ...upload, partNumberMarker: 2, maxParts: 2 });
      expect(rest.parts.map(({ partNumber }) => partNumber)).toEqual([3]);
      expect(rest.next).toBeUndefined();
      const none = await backend().listParts({ ...upload, partNumberMarker: 0, maxParts: 0 });
      expect(none.parts).toEqual([]);
    });

    it('are listed by key, then by age, with prefixes, delimiters and markers', async () => {
      const bucket = await newBucket(backend());
      const made: { key: string; uploadId: string }[] = [];
      for (const key of ['b', 'a/1', 'a/2', 'b', 'c/x', 'a']) {
        const { uploadId } = await startUpload(backend(), { bucket, key });
        made.push({ key, uploadId });
        // Ages differ by at least a millisecond.
        const since = Date.now();
        while (Date.now() === since) await new Promise(setImmediate);
      }
      const request = { bucket, prefix: '', maxUploads: 1000, authorize: anyone };
      const all = await backend().listMultipartUploads(request);
      const [b1, a1, a2, b2, cx, a] = made;
      expect(all.uploads.map(({ key, uploadId }) => ({ key, uploadId }))).toEqual([a, a1, a2, b1, b2, cx]);
      expect(all.uploads[0]).toMatchObject({ owner: alice, storageClass: 'STANDARD' });
      const rolled = await backend().listMultipartUploads({ ...request, delimiter: '/' });
      expect(rolled.uploads.map(({ key }) => key)).toEqual(['a', 'b', 'b']);
      expect(rolled.prefixes).toEqual(['a/', 'c/']);
      const under = await backend().listMultipartUploads({ ...request, prefix: 'a/' });
      expect(under.uploads.map(({ key }) => key)).toEqual(['a/1', 'a/2']);
      const seen: string[] = [];
      let markers: { keyMarker?: string; uploadIdMarker?: string } = {};
      for (;;) {
        const page = await backend().listMultipartUploads({ ...request, ...markers, maxUploads: 1 });
        seen.push(...page.uploads.map(({ uploadId }) => uploadId));
        if (page.nextKeyMarker === undefined) break;
        markers = {
          keyMarker: page.nextKeyMarker,
          ...(page.nextUploadIdMarker === undefined ? {} : { uploadIdMarker: page.nextUploadIdMarker }),
        };
      }
      expect(seen).toEqual([a, a1, a2, b1, b2, cx].map((upload) => upload!.uploadId));
      const afterKey = await backend().listMultipartUploads({ ...request, keyMarker: 'b' });
      expect(afterKey.uploads.map(({ key }) => key)).toEqual(['c/x']);
    });

    it.each<[ChecksumAlgorithm, ChecksumType]>([
      ['CRC32', 'FULL_OBJECT'],
      ['CRC32', 'COMPOSITE'],
      ['CRC32C', 'FULL_OBJECT'],
      ['CRC64NVME', 'FULL_OBJECT'],
      ['SHA1', 'COMPOSITE'],
      ['SHA256', 'COMPOSITE'],
    ])('make %s checksums of type %s', async (algorithm, type) => {
      const bucket = await newBucket(backend());
      const upload = await startUpload(backend(), { bucket, key: 'k' }, { checksum: { algorithm, type } });
      const contents = [big, small];
      const parts: {
        partNumber: number;
        etag: string;
        checksum: { algorithm: ChecksumAlgorithm; value: string };
      }[] = [];
      const raw: Buffer[] = [];
      for (const [i, content] of contents.entries()) {
        const single = await put(backend(), { bucket, key: `part-${i}` }, '', {
          body: { ...bodyOf(content), checksum: { algorithm, value: () => undefined } },
        });
        const value = single.checksum!.value;
        raw.push(Buffer.from(value, 'base64'));
        const body = { ...bodyOf(content), checksum: { algorithm, value: () => value } };
        const written = await backend().uploadPart({ ...upload, partNumber: i + 1, body });
        expect(written.checksum?.value).toBe(value);
        parts.push({ partNumber: i + 1, etag: written.etag, checksum: { algorithm, value } });
      }
      const whole = Buffer.concat(contents);
      const single = await put(backend(), { bucket, key: 'whole' }, '', {
        body: { ...bodyOf(whole), checksum: { algorithm, value: () => undefined } },
      });
      const value = type === 'FULL_OBJECT' ? single.checksum!.value : await compositeOf(raw);
      const complete = async (more: object): Promise<unknown> =>
        backend().completeMultipartUpload({ ...upload, parts, ...more });
      await refusal(complete({ checksum: { algorithm, value: 'AAAA' } }), 'BadDigest');
      const otherType = type === 'COMPOSITE' ? 'FULL_OBJECT' : 'COMPOSITE';
      await refusal(complete({ checksum: { algorithm, type: otherType, value } }), 'BadDigest');
      const wrongPart = [{ ...parts[0]!, checksum: { algorithm, value: 'AAAA' } }, parts[1]!];
      await refusal(complete({ parts: wrongPart }), 'InvalidPart');
      const written = await backend().completeMultipartUpload({
        ...upload,
        parts,
        checksum: { algorithm, type, value },
      });
      expect(written.checksum).toEqual({ algorithm, type, value });
      const read = await backend().getObject({ ...upload, partNumber: 2 });
      expect(read.checksum?.value).toBe(parts[1]!.checksum.value);
      await read.body[Symbol.asyncIterator]().return?.();

      async function compositeOf(checksums: readonly Buffer[]): Promise<string> {
        const composed = await put(backend(), { bucket, key: 'composed' }, '', {
          body: { ...bodyOf(Buffer.concat(checksums)), checksum: { algorithm, value: () => undefined } },
        });
        return `${composed.checksum!.value}-${checksums.length}`;
      }
    });

    it('refuse checksums that do not go together', async () => {
      const bucket = await newBucket(backend());
      await refusal(
        startUpload(
          backend(),
          { bucket, key: 'k' },
          { checksum: { algorithm: 'SHA256', type: 'FULL_OBJECT' } },
        ),
        'InvalidRequest',
      );
      const upload = await startUpload(backend(), { bucket, key: 'k' }, { checksum: { algorithm: 'CRC32' } });
      const body = { ...bodyOf('x'), checksum: { algorithm: 'SHA1' as const, value: () => undefined } };
      await refusal(backend().uploadPart({ ...upload, partNumber: 1, body }), 'InvalidRequest');
      const lenient = await startUpload(backend(), { bucket, key: 'k' });
      const written = await backend().uploadPart({
        ...lenient,
        partNumber: 1,
        body: { ...body, ...bodyOf('x') },
      });
      expect(written.checksum?.algorithm).toBe('SHA1');
    });

    it('copy parts from objects', async () => {
      const bucket = await newBucket(backend());
      await put(backend(), { bucket, key: 'source' }, big2);
      const upload = await startUpload(backend(), { bucket, key: 'k' });
      const source = { bucket, key: 'source', authorize: anyone };
      const first = await backend().uploadPartCopy({ ...upload, partNumber: 1, source });
      const second = await backend().uploadPartCopy({
        ...upload,
        partNumber: 2,
        source,
        range: { start: 10, end: 109 },
      });
      expect(first.etag).toBe(md5(big2));
      await refusal(
        backend().uploadPartCopy({ ...upload, partNumber: 3, source, range: { start: 0, end: big2.length } }),
        'InvalidRange',
      );
      await backend().completeMultipartUpload({
        ...upload,
        parts: [
          { partNumber: 1, etag: first.etag },
          { partNumber: 2, etag: second.etag },
        ],
      });
      expect((await get(backend(), upload)).equals(Buffer.concat([big2, big2.subarray(10, 110)]))).toBe(true);
      // A multipart object is itself a source.
      const copied = await backend().copyObject({
        bucket,
        key: 'copy',
        owner: alice,
        authorize: anyone,
        source: { bucket, key: 'k', authorize: anyone },
      });
      expect(copied.etag).toBe(md5(Buffer.concat([big2, big2.subarray(10, 110)])));
    });
  });
}
