import { createHash } from 'node:crypto';
import { beforeEach, describe, expect, it } from 'vitest';
import type { CompleteUploadRequest } from '../backend/backend.ts';
import { BackendError } from '../backend/errors.ts';
import { aliceOwner, createHarness, type Harness, textOf, textsOf } from './testing/harness.ts';

let s3: Harness;

beforeEach(() => {
  s3 = createHarness();
  s3.backend.addBucket('b', { owner: aliceOwner });
});

async function begin(headers: Record<string, string> = {}): Promise<Response> {
  return s3.send({ method: 'POST', target: '/b/k.txt?uploads', headers });
}

async function errorOf(response: Response): Promise<string> {
  return `${response.status} ${textOf(await response.text(), 'Code') ?? ''}`;
}

async function complete(
  uploadId: string,
  body: string,
  headers: Record<string, string> = {},
): Promise<Response> {
  return s3.send({ method: 'POST', target: `/b/k.txt?uploadId=${uploadId}`, body, headers });
}

function part(number: number, etag: string, more = ''): string {
  return `<Part><PartNumber>${number}</PartNumber><ETag>${etag}</ETag>${more}</Part>`;
}

describe('multipart uploads', () => {
  it('go from CreateMultipartUpload to an object with a -N ETag', async () => {
    const created = await (await begin({ 'x-amz-meta-a': '1' })).text();
    expect(created).toContain('<InitiateMultipartUploadResult');
    const uploadId = textOf(created, 'UploadId') ?? '';
    const etags: string[] = [];
    for (const [at, body] of ['one', 'two'].entries()) {
      const target = `/b/k.txt?partNumber=${at + 1}&uploadId=${uploadId}`;
      const response = await s3.send({ method: 'PUT', target, body });
      expect(response.status).toBe(200);
      expect(response.headers.get('x-amz-checksum-crc64nvme')).not.toBe(null);
      etags.push(response.headers.get('etag') ?? '');
    }
    const listed = await (await s3.send({ target: `/b/k.txt?uploadId=${uploadId}&max-parts=1` })).text();
    expect(textsOf(listed, 'PartNumber')).toEqual(['1']);
    expect(textOf(listed, 'NextPartNumberMarker')).toBe('1');
    expect(textOf(listed, 'IsTruncated')).toBe('true');
    const uploads = await (await s3.send({ target: '/b?uploads' })).text();
    expect(textsOf(uploads, 'UploadId')).toEqual([uploadId]);

    const [first = '', second = ''] = etags.map((etag) => etag.replaceAll('"', '&quot;'));
    const response = await complete(
      uploadId,
      `<CompleteMultipartUpload>${part(1, first)}${part(2, second)}</CompleteMultipartUpload>`,
    );
    const xml = await response.text();
    expect(response.status).toBe(200);
    expect(textOf(xml, 'ETag')).toMatch(/^&quot;[0-9a-f]{32}-2&quot;$/);
    expect(textOf(xml, 'Location')).toBe('https://s3.test/b/k.txt');
    expect(textOf(xml, 'ChecksumType')).toBe('FULL_OBJECT');
    const object = await s3.send({ target: '/b/k.txt' });
    expect(await object.text()).toBe('onetwo');
    expect(object.headers.get('content-type')).toBe('text/plain');
    expect(object.headers.get('x-amz-meta-a')).toBe('1');
  });

  it('pass on the order, ETags and checksums of parts as the client gave them', async () => {
    s3.backend.completeMultipartUpload = (request) => {
      s3.backend.calls.push({ name: 'complete', request });
      return Promise.resolve({ etag: 'e-2', lastModifiedMs: 0, sizeBytes: 1 });
    };
    const sha256 = createHash('sha256').update('x').digest('base64');
    const body =
      '<?xml version="1.0" encoding="UTF-8"?>\n<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">\n' +
      `${part(7, '"a"', `<ChecksumSHA256>${sha256}</ChecksumSHA256>`)}\n${part(3, 'b')}\n</CompleteMultipartUpload>`;
    const response = await complete('u', body, {
      'x-amz-checksum-sha256': sha256,
      'x-amz-checksum-type': 'COMPOSITE',
      'x-amz-mp-object-size': '6',
      'if-none-match': '*',
    });
    expect(response.status).toBe(200);
    expect(s3.backend.calls.at(-1)?.request as CompleteUploadRequest).toMatchObject({
      uploadId: 'u',
      parts: [
        { partNumber: 7, etag: 'a', checksum: { algorithm: 'SHA256', value: sha256 } },
        { partNumber: 3, etag: 'b' },
      ],
      checksum: { algorithm: 'SHA256', type: 'COMPOSITE', value: sha256 },
      sizeBytes: 6,
      preconditions: { ifNoneMatch: ['*'] },
    });
  });

  it('take 10,000 parts with checksums', async () => {
    s3.backend.completeMultipartUpload = (request) =>
      Promise.resolve({ etag: `e-${request.parts.length}`, lastModifiedMs: 0, sizeBytes: 1 });
    const sha256 = createHash('sha256').update('x').digest('base64');
    const parts = Array.from({ length: 10_000 }, (_, at) =>
      part(at + 1, `&quot;${'e'.repeat(32)}&quot;`, `<ChecksumSHA256>${sha256}</ChecksumSHA256>`),
    );
    const all = `<CompleteMultipartUpload>${parts.join('')}</CompleteMultipartUpload>`;
    expect(textOf(await (await complete('u', all)).text(), 'ETag')).toBe('&quot;e-10000&quot;');
    const more = `<CompleteMultipartUpload>${parts.join('')}${part(1, 'e')}</CompleteMultipartUpload>`;
    expect(await errorOf(await complete('u', more))).toBe('400 MalformedXML');
  });

  it('refuse what is not one of their requests', async () => {
    for (const body of ['', '<CompleteMultipartUpload/>', '<Complete></Complete>', part(1, 'e')]) {
      expect([body, await errorOf(await complete('u', body))]).toEqual([body, '400 MalformedXML']);
    }
    const wrong = `<CompleteMultipartUpload>${part(0, 'e')}</CompleteMultipartUpload>`;
    expect(await errorOf(await complete('u', wrong))).toBe('400 InvalidArgument');
    for (const number of ['0', '10001', '-1', 'x', '']) {
      const target = `/b/k?partNumber=${number}&uploadId=u`;
      expect([number, await errorOf(await s3.send({ method: 'PUT', target, body: 'x' }))]).toEqual([
        number,
        '400 InvalidArgument',
      ]);
    }
    expect(
      await errorOf(await s3.send({ method: 'PUT', target: '/b/k?partNumber=1&uploadId=', body: 'x' })),
    ).toBe('400 InvalidArgument');
    expect(await errorOf(await s3.send({ method: 'DELETE', target: '/b/k?uploadId=none' }))).toBe(
      '404 NoSuchUpload',
    );
    expect(await errorOf(await begin({ 'x-amz-acl': 'nobody' }))).toBe('400 InvalidArgument');
  });

  it('agree on a checksum at the beginning', async () => {
    const response = await begin({ 'x-amz-checksum-algorithm': 'crc32' });
    expect(response.headers.get('x-amz-checksum-algorithm')).toBe('CRC32');
    expect(response.headers.get('x-amz-checksum-type')).toBe('FULL_OBJECT');
    for (const headers of [
      { 'x-amz-checksum-algorithm': 'MD5' },
      { 'x-amz-checksum-type': 'COMPOSITE' },
      { 'x-amz-checksum-algorithm': 'CRC64NVME', 'x-amz-checksum-type': 'COMPOSITE' },
      { 'x-amz-checksum-algorithm': 'SHA1', 'x-amz-checksum-type': 'FULL_OBJECT' },
      { 'x-amz-checksum-algorithm': 'SHA1', 'x-amz-checksum-type': 'HALF' },
    ] as Record<string, string>[]) {
      expect([headers, await errorOf(await begin(headers))]).toEqual([headers, '400 InvalidRequest']);
    }
  });

  it('copy parts out of objects, by whole ranges only', async () => {
    await s3.send({ method: 'PUT', target: '/b/source', body: '0123456789' });
    const uploadId = textOf(await (await begin()).text(), 'UploadId') ?? '';
    const copy = async (headers: Record<string, string>): Promise<Response> =>
      s3.send({
        method: 'PUT',
        target: `/b/k.txt?partNumber=1&uploadId=${uploadId}`,
        headers: { 'x-amz-copy-source': 'b/source', ...headers },
      });
    const response = await copy({ 'x-amz-copy-source-range': 'bytes=2-4' });
    expect(response.status).toBe(200);
    expect(textOf(await response.text(), 'ETag')).toContain(createHash('md5').update('234').digest('hex'));
    for (const range of ['bytes=2-', 'bytes=-2', 'bytes=4-2', '2-4', 'bytes=0-1,3-4']) {
      expect([range, await errorOf(await copy({ 'x-amz-copy-source-range': range }))]).toEqual([
        range,
        '400 InvalidArgument',
      ]);
    }
  });

  it('whose completion takes long stay awake, and a late error is in the body', async () => {
    s3 = createHarness({ limits: { keepAliveAfterMs: 5, keepAliveEveryMs: 5 } });
    s3.backend.addBucket('b', { owner: aliceOwner });
    s3.backend.completeMultipartUpload = async () => {
      await new Promise((resolve) => setTimeout(resolve, 40));
      throw new BackendError('InvalidPart', 'Not there');
    };
    const response = await complete(
      'u',
      `<CompleteMultipartUpload>${part(1, 'e')}</CompleteMultipartUpload>`,
    );
    expect(response.status).toBe(200);
    expect(await response.text()).toMatch(
      /^<\?xml[^>]*>\n +<Error><Code>InvalidPart<\/Code><Message>Not there/,
    );
  });
});
