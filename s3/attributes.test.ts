import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openFixture, type Fixture } from '../backend/engine/testing/fixture.ts';
import { aliceOwner, createHarness, type Harness, region, textOf, textsOf } from './testing/harness.ts';

let fixture: Fixture;
let s3: Harness;
beforeEach(async () => {
  fixture = await openFixture();
  await fixture.engine.createBucket({ bucket: 'bucket', owner: aliceOwner, region });
  s3 = createHarness({ backend: fixture.engine });
});
afterEach(() => fixture.close());

async function upload(sizes: readonly number[]): Promise<void> {
  const created = await (
    await s3.send({
      method: 'POST',
      target: '/bucket/k?uploads',
      headers: { 'x-amz-checksum-algorithm': 'SHA256' },
    })
  ).text();
  const id = textOf(created, 'UploadId') ?? '';
  const parts: string[] = [];
  for (const [at, size] of sizes.entries()) {
    const target = `/bucket/k?partNumber=${at + 1}&uploadId=${id}`;
    const part = await s3.send({ method: 'PUT', target, body: Buffer.alloc(size, at) });
    parts.push(
      `<Part><PartNumber>${at + 1}</PartNumber><ETag>${part.headers.get('etag') ?? ''}</ETag></Part>`,
    );
  }
  const body = `<CompleteMultipartUpload>${parts.join('')}</CompleteMultipartUpload>`;
  const completed = await s3.send({ method: 'POST', target: `/bucket/k?uploadId=${id}`, body });
  expect(await completed.text()).toContain('<ETag>');
}

describe('GetObjectAttributes', () => {
  it('tells the parts of an object page by page, with their checksums', async () => {
    await upload([5 * 1024 ** 2, 5 * 1024 ** 2, 3]);
    const ask = async (headers: Record<string, string>): Promise<string> =>
      (
        await s3.send({
          target: '/bucket/k?attributes',
          headers: { 'x-amz-object-attributes': 'ObjectParts,ObjectSize', ...headers },
        })
      ).text();
    const all = await ask({});
    expect(textsOf(all, 'PartNumber')).toEqual(['1', '2', '3']);
    expect(textsOf(all, 'Size')).toEqual(['5242880', '5242880', '3']);
    expect(textsOf(all, 'ChecksumSHA256')).toHaveLength(3);
    expect([textOf(all, 'PartsCount'), textOf(all, 'IsTruncated')]).toEqual(['3', 'false']);
    const page = await ask({ 'x-amz-max-parts': '1', 'x-amz-part-number-marker': '1' });
    expect(textsOf(page, 'PartNumber')).toEqual(['2']);
    expect(
      ['PartsCount', 'PartNumberMarker', 'NextPartNumberMarker', 'MaxParts', 'IsTruncated'].map((name) =>
        textOf(page, name),
      ),
    ).toEqual(['3', '1', '2', '1', 'true']);
    expect(textOf(await ask({ 'x-amz-max-parts': 'all' }), 'Code')).toBe('InvalidArgument');
    await s3.send({ method: 'PUT', target: '/bucket/k', body: 'whole' });
    expect(await ask({})).not.toContain('ObjectParts');
  });
});

describe('UploadPartCopy', () => {
  it('tells a range that can’t be read from one that isn’t there', async () => {
    await s3.send({ method: 'PUT', target: '/bucket/source', body: '12345' });
    const id =
      textOf(await (await s3.send({ method: 'POST', target: '/bucket/k?uploads' })).text(), 'UploadId') ?? '';
    const copy = async (range: string): Promise<string> => {
      const headers = { 'x-amz-copy-source': '/bucket/source', 'x-amz-copy-source-range': range };
      const response = await s3.send({
        method: 'PUT',
        target: `/bucket/k?partNumber=1&uploadId=${id}`,
        headers,
      });
      return `${response.status} ${textOf(await response.text(), 'Code') ?? ''}`;
    };
    expect(await copy('bytes=0-21')).toBe('416 InvalidRange');
    for (const range of ['0-2', 'bytes=0', 'bytes=hello-', 'bytes=0-2,3-5', 'bytes=-2', 'bytes=1-'])
      expect([range, await copy(range)]).toEqual([range, '400 InvalidArgument']);
    expect(await copy('bytes=0-4')).toBe('200 ');
  });
});
