import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { beforeEach, describe, expect, it } from 'vitest';
import type { PutObjectRequest } from '../backend/backend.ts';
import { BackendError } from '../backend/errors.ts';
import { aliceOwner, createHarness, type Harness, textOf } from './testing/harness.ts';

let s3: Harness;

beforeEach(() => {
  s3 = createHarness();
  s3.backend.addBucket('b', { owner: aliceOwner });
});

async function put(key: string, body: string, headers: Record<string, string> = {}): Promise<Response> {
  return s3.send({ method: 'PUT', target: `/b/${key}`, body, headers });
}

async function errorOf(response: Response): Promise<string> {
  return `${response.status} ${textOf(await response.text(), 'Code') ?? ''}`;
}

function base64Crc32(text: string): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(crc32(text));
  return bytes.toString('base64');
}

function awsChunked(text: string, trailers: Record<string, string> = {}): string {
  const lines = Object.entries(trailers).map(([name, value]) => `${name}:${value}\r\n`);
  return `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n0\r\n${lines.join('')}\r\n`;
}

function storedPut(): PutObjectRequest {
  return s3.backend.calls.findLast((call) => call.name === 'putObject')?.request as PutObjectRequest;
}

describe('PutObject', () => {
  it('decodes aws-chunked with a trailing checksum and stores only the payload', async () => {
    const headers = {
      'x-amz-content-sha256': 'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
      'x-amz-trailer': 'x-amz-checksum-crc32',
      'x-amz-sdk-checksum-algorithm': 'CRC32',
      'x-amz-decoded-content-length': '5',
      'content-encoding': 'aws-chunked',
      'transfer-encoding': 'chunked',
    };
    const body = awsChunked('hello', { 'x-amz-checksum-crc32': base64Crc32('hello') });
    const response = await put('k', body, headers);
    expect(response.status).toBe(200);
    expect(response.headers.get('x-amz-checksum-crc32')).toBe(base64Crc32('hello'));
    expect(s3.backend.buckets.get('b')?.objects.get('k')?.bytes.toString()).toBe('hello');

    const wrong = awsChunked('hello', { 'x-amz-checksum-crc32': base64Crc32('hellO') });
    expect(await errorOf(await put('wrong', wrong, headers))).toBe('400 BadDigest');
    expect(await errorOf(await put('wrong', awsChunked('hello'), headers))).toBe('400 MalformedTrailerError');
    expect(s3.backend.buckets.get('b')?.objects.has('wrong')).toBe(false);
  });

  it('strips aws-chunked, and only that, from Content-Encoding', async () => {
    for (const [sent, stored] of [
      ['gzip,aws-chunked', 'gzip'],
      ['deflate, aws-chunked, gzip', 'deflate, gzip'],
      ['aws-chunked', undefined],
      ['gzip', 'gzip'],
    ] as const) {
      await put('k', awsChunked('x'), {
        'x-amz-content-sha256': 'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
        'x-amz-decoded-content-length': '1',
        'content-encoding': sent,
      });
      if (sent === 'gzip') await put('k', 'x', { 'content-encoding': sent });
      expect(storedPut().metadata.system.contentEncoding).toBe(stored);
    }
  });

  it('returns the checksum that the backend computed for a client that sent none', async () => {
    const response = await put('k', 'hello');
    expect(response.headers.get('x-amz-checksum-crc64nvme')).toBe('M3eFcAZSQlc=');
    expect(response.headers.get('x-amz-checksum-type')).toBe('FULL_OBJECT');
    expect(response.headers.get('etag')).toBe(`"${createHash('md5').update('hello').digest('hex')}"`);
  });

  it('passes on what the content must turn out to be', async () => {
    const md5 = createHash('md5').update('hello').digest('base64');
    expect((await put('k', 'hello', { 'content-md5': md5 })).status).toBe(200);
    expect(await errorOf(await put('k', 'hellO', { 'content-md5': md5 }))).toBe('400 BadDigest');
    expect(await errorOf(await put('k', 'hello', { 'content-md5': 'short' }))).toBe('400 InvalidDigest');
    expect(await errorOf(await put('k', 'hello', { 'content-md5': '' }))).toBe('400 InvalidDigest');
    const sha256 = createHash('sha256').update('hello').digest('base64');
    expect((await put('k', 'hello', { 'x-amz-checksum-sha256': sha256 })).status).toBe(200);
    expect(await errorOf(await put('k', 'hellO', { 'x-amz-checksum-sha256': sha256 }))).toBe('400 BadDigest');
  });

  it('refuses checksums that contradict each other or cannot be', async () => {
    const crc = base64Crc32('x');
    const cases: Record<string, string>[] = [
      { 'x-amz-checksum-crc32': crc, 'x-amz-checksum-crc32c': crc },
      { 'x-amz-checksum-crc32': 'AAAA' },
      { 'x-amz-checksum-crc32': '' },
      { 'x-amz-checksum-sha256': crc },
      { 'x-amz-sdk-checksum-algorithm': 'CRC32' },
      { 'x-amz-sdk-checksum-algorithm': 'MD4', 'x-amz-checksum-crc32': crc },
      { 'x-amz-sdk-checksum-algorithm': 'SHA1', 'x-amz-checksum-crc32': crc },
    ];
    for (const headers of cases)
      expect(await errorOf(await put('k', 'x', headers))).toBe('400 InvalidRequest');
  });

  it('needs a length unless it is aws-chunked', async () => {
    expect(await errorOf(await put('k', 'x', { 'transfer-encoding': 'chunked' }))).toBe(
      '411 MissingContentLength',
    );
    const headers = {
      'x-amz-content-sha256': 'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
      'transfer-encoding': 'chunked',
    };
    expect((await put('unknown', awsChunked('xyz'), headers)).status).toBe(200);
    expect(s3.backend.buckets.get('b')?.objects.get('unknown')?.bytes.toString()).toBe('xyz');
    const cut = awsChunked('xyz').slice(0, -7);
    expect(await errorOf(await put('cut', cut, headers))).toBe('400 IncompleteBody');
    const limited = createHarness({ limits: { maxPutBytes: 3 } });
    limited.backend.addBucket('b', { owner: aliceOwner });
    const unknown = { method: 'PUT', target: '/b/k', body: awsChunked('1234'), headers };
    expect(await errorOf(await limited.send(unknown))).toBe('400 EntityTooLarge');
    const tooBig = await limited.send({ method: 'PUT', target: '/b/k', body: '1234' });
    expect(await errorOf(tooBig)).toBe('400 EntityTooLarge');
  });

  it('stores nothing that was not signed', async () => {
    const headers = { 'x-amz-content-sha256': createHash('sha256').update('hello').digest('hex') };
    expect(await errorOf(await put('k', 'hellO', headers))).toBe('400 XAmzContentSHA256Mismatch');
    expect(s3.backend.buckets.get('b')?.objects.size).toBe(0);
  });

  it('answers 501 to features that would change what is stored', async () => {
    const cases: Record<string, string>[] = [
      { 'x-amz-write-offset-bytes': '0' },
      { 'if-unmodified-since': 'Sat, 01 Jan 2000 00:00:00 GMT' },
      { 'if-modified-since': 'Sat, 01 Jan 2000 00:00:00 GMT' },
    ];
    for (const headers of cases) {
      expect([headers, await errorOf(await put('k', 'x', headers))]).toEqual([headers, '501 NotImplemented']);
    }
    for (const headers of [
      { 'x-amz-acl': 'private' },
      { 'x-amz-acl': 'bucket-owner-full-control' },
      { 'x-amz-storage-class': 'STANDARD' },
    ] as Record<string, string>[]) {
      expect((await put('k', 'x', headers)).status).toBe(200);
    }
    expect(s3.backend.calls.filter((call) => call.name === 'putObject')).toHaveLength(3);
  });

  it('passes conditions on: of writes that must be first there is one winner', async () => {
    expect((await put('k', 'x', { 'if-none-match': '*' })).status).toBe(200);
    expect(await errorOf(await put('k', 'y', { 'if-none-match': '*' }))).toBe('412 PreconditionFailed');
    expect(await errorOf(await put('k', 'y', { 'if-match': '"other"' }))).toBe('412 PreconditionFailed');
    expect(await errorOf(await put('missing', 'y', { 'if-match': '"other"' }))).toBe('404 NoSuchKey');
    const etag = createHash('md5').update('x').digest('hex');
    expect(await errorOf(await put('k', 'y', { 'if-none-match': `"${etag}"` }))).toBe(
      '412 PreconditionFailed',
    );
    expect((await put('k', 'x', { 'if-none-match': '"other"' })).status).toBe(200);
    expect((await put('k', 'y', { 'if-match': `"${etag}"` })).status).toBe(200);
  });
});

describe('content types', () => {
  it('are kept as sent, also those that say nothing', async () => {
    for (const type of ['text/x', 'binary/octet-stream', 'application/octet-stream']) {
      await put('k.html', '<p>', { 'content-type': type });
      expect((await s3.send({ target: '/b/k.html' })).headers.get('content-type')).toBe(type);
    }
  });

  it('are found from the first bytes, then the extension, then are the default of S3', async () => {
    const png = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk', 'base64');
    const cases: readonly (readonly [string, string | Buffer, string])[] = [
      ['a.txt', png, 'image/png'],
      ['a.html', '<p>hello', 'text/html'],
      ['dir.html/a', 'hello', 'binary/octet-stream'],
      ['a', '', 'binary/octet-stream'],
      ['a.json', '', 'application/json'],
    ];
    for (const [key, body, type] of cases) {
      const target = `/b/${key}`;
      expect((await s3.send({ method: 'PUT', target, body })).status).toBe(200);
      const response = await s3.send({ target });
      expect([key, response.headers.get('content-type')]).toEqual([key, type]);
      expect(Buffer.from(await response.arrayBuffer())).toEqual(Buffer.from(body));
    }
  });

  it('are guessed without losing a byte of long content', async () => {
    const body = Buffer.alloc(300_000, 'abcdefg');
    await s3.send({ method: 'PUT', target: '/b/long', body });
    expect(s3.backend.buckets.get('b')?.objects.get('long')?.bytes.equals(body)).toBe(true);
  });
});

describe('metadata', () => {
  it('comes back as it was sent', async () => {
    await put('k', 'x', {
      'content-type': 'text/plain',
      'cache-control': 'no-cache',
      'content-disposition': 'attachment; filename="a"',
      'content-language': 'de',
      expires: 'Thu, 01 Dec 2030 16:00:00 GMT',
      'x-amz-meta-Color': ' blue  green ',
      'x-amz-meta-empty': '',
    });
    const { headers } = await s3.send({ method: 'HEAD', target: '/b/k' });
    expect(headers.get('cache-control')).toBe('no-cache');
    expect(headers.get('content-disposition')).toBe('attachment; filename="a"');
    expect(headers.get('content-language')).toBe('de');
    expect(headers.get('expires')).toBe('Thu, 01 Dec 2030 16:00:00 GMT');
    expect(headers.get('x-amz-meta-color')).toBe('blue  green');
    expect(headers.get('x-amz-meta-empty')).toBe('');
    expect(headers.get('last-modified')).toBe('Fri, 02 Jan 2026 03:04:05 GMT');
    expect(headers.get('accept-ranges')).toBe('bytes');
  });

  it('beyond ASCII is UTF-8 on its way in and RFC 2047 on its way out', async () => {
    await put('k', 'x', { 'x-amz-meta-a': 'Grüße' });
    expect(storedPut().metadata.user['a']).toBe('Grüße');
    const word = `=?UTF-8?B?${Buffer.from('Grüße').toString('base64')}?=`;
    expect((await s3.send({ target: '/b/k' })).headers.get('x-amz-meta-a')).toBe(word);
    await put('k', 'x', { 'x-amz-meta-a': word });
    expect(storedPut().metadata.user['a']).toBe('Grüße');
    await put('k', 'x', { 'x-amz-meta-a': '=?utf-8?q?a=C3=BC_b?= =?utf-8?q?c?=' });
    expect(storedPut().metadata.user['a']).toBe('aü bc');
    await put('k', 'x', { 'x-amz-meta-a': '=?nonsense?=' });
    expect(storedPut().metadata.user['a']).toBe('=?nonsense?=');
  });

  it('of more than 2 KB is refused', async () => {
    expect((await put('k', 'x', { 'x-amz-meta-a': 'v'.repeat(2047) })).status).toBe(200);
    expect(await errorOf(await put('k', 'x', { 'x-amz-meta-a': 'v'.repeat(2048) }))).toBe(
      '400 MetadataTooLarge',
    );
  });
});

describe('GetObject and HeadObject', () => {
  beforeEach(async () => {
    await put('k', '0123456789');
  });

  it('answer ranges as S3 reads them', async () => {
    const cases: readonly (readonly [string, number, string, string | null])[] = [
      ['bytes=2-4', 206, '234', 'bytes 2-4/10'],
      ['bytes=7-', 206, '789', 'bytes 7-9/10'],
      ['bytes=-3', 206, '789', 'bytes 7-9/10'],
      ['bytes=-30', 206, '0123456789', 'bytes 0-9/10'],
      ['bytes=0-999999999999999999999', 206, '0123456789', 'bytes 0-9/10'],
      ['bytes=4-2', 200, '0123456789', null],
      ['bytes=a-b', 200, '0123456789', null],
      ['bytes=-', 200, '0123456789', null],
      ['bytes=0-1,4-5', 200, '0123456789', null],
      ['lines=0-1', 200, '0123456789', null],
    ];
    for (const [range, status, text, contentRange] of cases) {
      const response = await s3.send({ target: '/b/k', headers: { range } });
      expect([range, response.status, await response.text()]).toEqual([range, status, text]);
      expect(response.headers.get('content-range')).toBe(contentRange);
      const head = await s3.send({ method: 'HEAD', target: '/b/k', headers: { range } });
      expect(head.headers.get('content-length')).toBe(String(text.length));
    }
    for (const range of ['bytes=10-', 'bytes=10-12', 'bytes=-0']) {
      const response = await s3.send({ target: '/b/k', headers: { range } });
      expect(response.headers.get('content-range')).toBe('bytes */10');
      expect(await errorOf(response)).toBe('416 InvalidRange');
    }
  });

  it('honour If-Range, so that a resumed download never mixes two objects', async () => {
    const etag = (await s3.send({ method: 'HEAD', target: '/b/k' })).headers.get('etag') ?? '';
    const send = async (ifRange: string): Promise<Response> =>
      s3.send({ target: '/b/k', headers: { range: 'bytes=5-', 'if-range': ifRange } });
    expect((await send(etag)).status).toBe(206);
    const changed = await send('"other"');
    expect([changed.status, await changed.text()]).toEqual([200, '0123456789']);
  });

  it('answer 304 without a body but with the ETag', async () => {
    const etag = (await s3.send({ method: 'HEAD', target: '/b/k' })).headers.get('etag') ?? '';
    for (const headers of [
      { 'if-none-match': etag },
      { 'if-none-match': '*' },
      { 'if-none-match': `"a", W/${etag}` },
      { 'if-modified-since': 'Fri, 02 Jan 2026 03:04:05 GMT' },
    ] as Record<string, string>[]) {
      const response = await s3.send({ target: '/b/k', headers });
      expect([headers, response.status, await response.text()]).toEqual([headers, 304, '']);
      expect(response.headers.get('etag')).toBe(etag);
    }
    const future = { 'if-modified-since': 'Fri, 02 Jan 2126 03:04:05 GMT' };
    expect((await s3.send({ target: '/b/k', headers: future })).status).toBe(200);
    const unreadable = { 'if-modified-since': 'yesterday', 'if-unmodified-since': '?' };
    expect((await s3.send({ target: '/b/k', headers: unreadable })).status).toBe(200);
    expect((await s3.send({ target: '/b/k', headers: { 'if-match': '"x"' } })).status).toBe(412);
  });

  it('show checksums only when asked, and never beside a part of the content', async () => {
    const enabled = { 'x-amz-checksum-mode': 'ENABLED' };
    const name = 'x-amz-checksum-crc64nvme';
    expect((await s3.send({ target: '/b/k' })).headers.get(name)).toBe(null);
    expect((await s3.send({ target: '/b/k', headers: enabled })).headers.get(name)).not.toBe(null);
    expect((await s3.send({ method: 'HEAD', target: '/b/k', headers: enabled })).headers.get(name)).not.toBe(
      null,
    );
    const range = await s3.send({ target: '/b/k', headers: { ...enabled, range: 'bytes=0-1' } });
    expect(range.headers.get(name)).toBe(null);
    // Of a part the backend gives the part's own.
    const part = await s3.send({ target: '/b/k?partNumber=1', headers: enabled });
    expect(part.headers.get(name)).not.toBe(null);
  });

  it('replace headers by response-* parameters, but not for anonymous callers', async () => {
    const target =
      '/b/k?response-content-type=text%2Fx&response-content-disposition=attachment%3B%20filename%3D%22%C3%BC%22' +
      '&response-cache-control=no-store&response-expires=never&response-content-language=de&response-content-encoding=br';
    const { headers } = await s3.send({ target });
    expect(headers.get('content-type')).toBe('text/x');
    expect(Buffer.from(headers.get('content-disposition') ?? '', 'latin1').toString()).toBe(
      'attachment; filename="ü"',
    );
    expect(headers.get('cache-control')).toBe('no-store');
    expect(headers.get('expires')).toBe('never');
    expect(headers.get('content-language')).toBe('de');
    expect(headers.get('content-encoding')).toBe('br');
    expect(await errorOf(await s3.send({ target: '/b/k?response-expires=a%0d%0ax:y' }))).toBe(
      '400 InvalidArgument',
    );
    s3.backend.addBucket('open', { owner: aliceOwner, public: true });
    await s3.send({ method: 'PUT', target: '/open/k', body: 'x' });
    expect((await s3.send({ target: '/open/k', as: null })).status).toBe(200);
    expect(await errorOf(await s3.send({ target: '/open/k?response-expires=x', as: null }))).toBe(
      '400 InvalidRequest',
    );
  });

  it('refuse a part and a range at once, and impossible parts', async () => {
    const both = await s3.send({ target: '/b/k?partNumber=1', headers: { range: 'bytes=0-1' } });
    expect(await errorOf(both)).toBe('400 InvalidRequest');
    for (const part of ['0', '10001', 'x', '']) {
      expect(await errorOf(await s3.send({ target: `/b/k?partNumber=${part}` }))).toBe('400 InvalidArgument');
    }
    expect(await errorOf(await s3.send({ target: '/b/k?versionId=' }))).toBe('400 InvalidArgument');
  });

  it('give errors with a body on GET and without on HEAD, and ids on everything', async () => {
    const get = await s3.send({ target: '/b/missing%3C' });
    const text = await get.text();
    expect(get.status).toBe(404);
    expect(text).toContain(
      '<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message>',
    );
    expect(textOf(text, 'Resource')).toBe('/b/missing&lt;');
    expect(textOf(text, 'RequestId')).toBe(get.headers.get('x-amz-request-id'));
    const head = await s3.send({ method: 'HEAD', target: '/b/missing' });
    expect([head.status, await head.text()]).toEqual([404, '']);
    for (const response of [get, head, await s3.send({ target: '/b/k' })]) {
      expect(response.headers.get('x-amz-request-id')).toMatch(/^[0-9A-F]{16}$/);
      expect(response.headers.get('x-amz-id-2')).not.toBe(null);
      expect(response.headers.get('date')).not.toBe(null);
      expect(response.headers.get('server')).toBe('s3d');
    }
  });
});

describe('keys', () => {
  it('are opaque from end to end', async () => {
    const targets = [
      '/b//lead',
      '/b/../x',
      '/b/./y',
      '/b/a//b',
      '/b/a/',
      '/b/a',
      '/b/a/b',
      '/b/%2e%2e/z',
      '/b/a%20b+c',
      '/b/%E2%82%AC',
    ];
    const keys = ['/lead', '../x', './y', 'a//b', 'a/', 'a', 'a/b', '../z', 'a b+c', '€'];
    for (const target of targets) {
      expect([target, (await s3.send({ method: 'PUT', target, body: target })).status]).toEqual([
        target,
        200,
      ]);
    }
    expect([...(s3.backend.buckets.get('b')?.objects.keys() ?? [])].sort()).toEqual([...keys].sort());
    for (const target of targets) expect(await (await s3.send({ target })).text()).toBe(target);
  });

  it('in the host are found with a domain', async () => {
    const hosted = createHarness({ domain: 's3.test' });
    hosted.backend.addBucket('my.bucket', { owner: aliceOwner });
    const host = 'my.bucket.s3.test';
    expect((await hosted.send({ method: 'PUT', target: '//k', body: 'x', host })).status).toBe(200);
    expect(hosted.backend.buckets.get('my.bucket')?.objects.has('/k')).toBe(true);
    expect((await hosted.send({ target: '/my.bucket//k' })).status).toBe(200);
  });
});

describe('DeleteObject', () => {
  it('answers 204 whether the key was there or not, and passes conditions on', async () => {
    await put('k', 'x');
    expect(
      await errorOf(await s3.send({ method: 'DELETE', target: '/b/k', headers: { 'if-match': '"x"' } })),
    ).toBe('412 PreconditionFailed');
    const response = await s3.send({ method: 'DELETE', target: '/b/k' });
    expect([response.status, await response.text()]).toEqual([204, '']);
    expect((await s3.send({ method: 'DELETE', target: '/b/k' })).status).toBe(204);
    await s3.send({
      method: 'DELETE',
      target: '/b/k',
      headers: {
        'x-amz-if-match-size': '3',
        'x-amz-if-match-last-modified-time': 'Fri, 02 Jan 2026 03:04:05 GMT',
      },
    });
    expect(s3.backend.calls.at(-1)?.request).toMatchObject({
      preconditions: { sizeBytes: 3, lastModifiedMs: Date.UTC(2026, 0, 2, 3, 4, 5) },
    });
  });
});

describe('CopyObject', () => {
  it('copies, with the source in percent-encoding', async () => {
    await s3.send({
      method: 'PUT',
      target: '/b/a%20b%2Bc/%C3%BC',
      body: 'x',
      headers: { 'x-amz-meta-a': '1' },
    });
    for (const source of ['/b/a%20b%2Bc/%C3%BC', 'b/a+b%2Bc/%C3%BC', 'b%2Fa%20b%2Bc%2F%C3%BC']) {
      const response = await s3.send({
        method: 'PUT',
        target: '/b/copy',
        headers: { 'x-amz-copy-source': source },
      });
      expect([source, response.status]).toEqual([source, 200]);
      const text = await response.text();
      expect(text).toContain('<CopyObjectResult');
      expect(textOf(text, 'LastModified')).toBe('2026-01-02T03:04:05.000Z');
      expect(textOf(text, 'ETag')).toMatch(/^&quot;[0-9a-f]{32}&quot;$/);
    }
    expect((await s3.send({ target: '/b/copy' })).headers.get('x-amz-meta-a')).toBe('1');
  });

  it('replaces metadata when told to, and only onto itself when it does', async () => {
    await put('k.txt', 'x', { 'x-amz-meta-a': '1' });
    const copy = async (headers: Record<string, string>): Promise<Response> =>
      s3.send({ method: 'PUT', target: '/b/k.txt', headers: { 'x-amz-copy-source': 'b/k.txt', ...headers } });
    expect(await errorOf(await copy({}))).toBe('400 InvalidRequest');
    expect(await errorOf(await copy({ 'x-amz-metadata-directive': 'MERGE' }))).toBe('400 InvalidArgument');
    expect((await copy({ 'x-amz-metadata-directive': 'REPLACE', 'x-amz-meta-b': '2' })).status).toBe(200);
    const { headers } = await s3.send({ method: 'HEAD', target: '/b/k.txt' });
    expect([headers.get('x-amz-meta-a'), headers.get('x-amz-meta-b')]).toEqual([null, '2']);
    expect(headers.get('content-type')).toBe('text/plain');
  });

  it('refuses sources that name nothing, and conditions that fail are 412', async () => {
    await put('k', 'x');
    const copy = async (source: string, headers: Record<string, string> = {}): Promise<string> =>
      errorOf(
        await s3.send({
          method: 'PUT',
          target: '/b/c',
          headers: { 'x-amz-copy-source': source, ...headers },
        }),
      );
    expect(await copy('b')).toBe('400 InvalidArgument');
    expect(await copy('/')).toBe('400 InvalidArgument');
    expect(await copy('b/k?versionId=')).toBe('400 InvalidArgument');
    expect(await copy('b/%zz')).toBe('400 InvalidURI');
    expect(await copy('arn:aws:s3:::x')).toBe('501 NotImplemented');
    expect(await copy('b/missing')).toBe('404 NoSuchKey');
    expect(await copy('other/k')).toBe('404 NoSuchBucket');
    expect(await copy('b/k', { 'x-amz-copy-source-if-match': '"x"' })).toBe('412 PreconditionFailed');
    const etag = createHash('md5').update('x').digest('hex');
    expect(await copy('b/k', { 'x-amz-copy-source-if-none-match': etag })).toBe('412 PreconditionFailed');
  });

  it('keeps the connection awake while it takes long, and then shows errors in the body', async () => {
    const slow = createHarness({ limits: { keepAliveAfterMs: 5, keepAliveEveryMs: 5 } });
    slow.backend.addBucket('b', { owner: aliceOwner });
    await slow.send({ method: 'PUT', target: '/b/k', body: 'x' });
    let release = Promise.withResolvers<undefined>();
    slow.backend.before = (name) => (name === 'copyObject' ? release.promise : undefined);
    const copy = async (): Promise<Response> =>
      slow.send({ method: 'PUT', target: '/b/c', headers: { 'x-amz-copy-source': 'b/k' } });
    const good = await copy();
    expect(good.status).toBe(200);
    setTimeout(() => release.resolve(undefined), 30);
    expect(await good.text()).toMatch(/^<\?xml[^>]*>\n +<CopyObjectResult /);
    release = Promise.withResolvers();
    const bad = await copy();
    expect(bad.status).toBe(200);
    setTimeout(() => release.reject(new BackendError('SlowDown', 'Busy')), 30);
    expect(await bad.text()).toMatch(/^<\?xml[^>]*>\n +<Error><Code>SlowDown<\/Code><Message>Busy/);
  });
});

describe('unexpected errors', () => {
  it('are InternalError to the client and in full in the log, under the same request id', async () => {
    s3.backend.before = () => {
      throw new Error('disk /dev/sda1 is on fire');
    };
    const response = await put('k', 'x');
    const text = await response.text();
    expect(response.status).toBe(500);
    expect(text).toContain('<Code>InternalError</Code>');
    expect(text).not.toContain('fire');
    const line = s3.log.find((entry) => entry.level === 'error');
    expect(line?.fields['requestId']).toBe(response.headers.get('x-amz-request-id'));
    expect(String(line?.fields['err'])).toContain('on fire');
  });

  it('with an internal text in a refusal are not shown either', async () => {
    s3.backend.before = () => {
      throw new BackendError('InternalError', 'secret path');
    };
    expect(await (await put('k', 'x')).text()).not.toContain('secret');
  });

  it('of unavailable parts ask the client to come again', async () => {
    s3.backend.before = () => {
      throw new BackendError('ServiceUnavailable', 'No leader');
    };
    const response = await put('k', 'x');
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '1']);
  });
});
