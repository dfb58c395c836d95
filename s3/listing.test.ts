import { beforeEach, describe, expect, it } from 'vitest';
import type { ListObjectsRequest } from '../backend/backend.ts';
import { aliceOwner, createHarness, type Harness, textOf, textsOf } from './testing/harness.ts';

let s3: Harness;

beforeEach(() => {
  s3 = createHarness();
  s3.backend.addBucket('b', { owner: aliceOwner });
});

async function fill(...keys: string[]): Promise<void> {
  for (const key of keys) {
    const target = `/b/${key.split('/').map(encodeURIComponent).join('/')}`;
    expect((await s3.send({ method: 'PUT', target, body: 'x' })).status).toBe(200);
  }
}

async function list(query: string): Promise<string> {
  const response = await s3.send({ target: `/b?${query}` });
  expect([query, response.status]).toEqual([query, 200]);
  expect(response.headers.get('content-type')).toBe('application/xml');
  return response.text();
}

async function errorOf(target: string): Promise<string> {
  const response = await s3.send({ target });
  return `${response.status} ${textOf(await response.text(), 'Code') ?? ''}`;
}

describe('ListObjects', () => {
  it('answers in the words of S3, sorted as the backend sorts', async () => {
    await fill('a', 'a/b', 'a/c', 'z');
    const xml = await list('delimiter=/');
    expect(textsOf(xml, 'Key')).toEqual(['a', 'z']);
    expect(xml).toContain('<CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes>');
    expect(xml).toContain('<Delimiter>/</Delimiter>');
    expect(xml).toContain('<Marker></Marker>');
    expect(textOf(xml, 'IsTruncated')).toBe('false');
    expect(textOf(xml, 'MaxKeys')).toBe('1000');
    expect(textOf(xml, 'Size')).toBe('1');
    expect(textOf(xml, 'StorageClass')).toBe('STANDARD');
    expect(xml).toContain('<Owner><ID>111111111111</ID><DisplayName>alice</DisplayName></Owner>');
    expect(textOf(xml, 'ChecksumAlgorithm')).toBe('CRC64NVME');
    expect(xml).not.toContain('EncodingType');
    expect(xml).not.toContain('NextMarker');
  });

  it('goes on behind a marker, which it gives only with a delimiter', async () => {
    await fill('a/1', 'b', 'c/1', 'd');
    const first = await list('delimiter=/&max-keys=2');
    expect(textOf(first, 'IsTruncated')).toBe('true');
    expect(textOf(first, 'NextMarker')).toBe('b');
    const second = await list('delimiter=/&max-keys=2&marker=b');
    expect(textsOf(second, 'Key')).toEqual(['d']);
    expect(textOf(second, 'IsTruncated')).toBe('false');
    expect(await list('max-keys=1')).not.toContain('NextMarker');
  });
});

describe('ListObjectsV2', () => {
  it('pages by opaque tokens over keys and common prefixes', async () => {
    await fill('a/1', 'a/2', 'b', 'ü/1', 'ü/2');
    const seen: string[] = [];
    let query = 'list-type=2&delimiter=/&max-keys=1';
    for (let pages = 0; pages < 5; pages++) {
      const xml = await list(query);
      seen.push(...textsOf(xml, 'Key'), ...textsOf(xml.replace('<Prefix></Prefix>', ''), 'Prefix'));
      expect(textOf(xml, 'KeyCount')).toBe('1');
      const token = textOf(xml, 'NextContinuationToken');
      if (token === undefined) break;
      expect(token).not.toContain(seen.at(-1));
      query = `list-type=2&delimiter=/&max-keys=1&continuation-token=${token}`;
    }
    expect(seen).toEqual(['a/', 'b', 'ü/']);
  });

  it('refuses tokens that it did not make', async () => {
    for (const token of ['b', 'bm8', '%00', 'MWE=', 'zzzz']) {
      expect([token, await errorOf(`/b?list-type=2&continuation-token=${token}`)]).toEqual([
        token,
        '400 InvalidArgument',
      ]);
    }
    expect(await list('list-type=2&continuation-token=')).toContain(
      '<ContinuationToken></ContinuationToken>',
    );
  });

  it('shows owners only when asked and start-after as it came', async () => {
    await fill('a', 'b');
    const xml = await list('list-type=2&start-after=a');
    expect(textsOf(xml, 'Key')).toEqual(['b']);
    expect(textOf(xml, 'StartAfter')).toBe('a');
    expect(xml).not.toContain('<Owner>');
    expect(await list('list-type=2&fetch-owner=true')).toContain('<Owner>');
    expect(await errorOf('/b?list-type=3')).toBe('400 InvalidArgument');
  });
});

describe('listings', () => {
  it('take max-keys as S3 does', async () => {
    await fill('a', 'b');
    const asked = async (maxKeys: string): Promise<string> => {
      const xml = await list(`max-keys=${maxKeys}`);
      return `${textsOf(xml, 'Key').join('')} ${textOf(xml, 'MaxKeys')} ${textOf(xml, 'IsTruncated')}`;
    };
    expect(await asked('0')).toBe(' 0 false');
    expect(await asked('1')).toBe('a 1 true');
    expect(await asked('')).toBe('ab 1000 false');
    expect(await asked('5000')).toBe('ab 1000 false');
    for (const wrong of ['-1', 'x', '1.5', '2147483648']) {
      expect([wrong, await errorOf(`/b?max-keys=${wrong}`)]).toEqual([wrong, '400 InvalidArgument']);
    }
  });

  it('write names in percent-encoding when asked, a space as %20 and a plus as %2B', async () => {
    await fill('a b+c/d', 'é*~!', '\u0001');
    expect(textOf(await list('encoding-type=url&prefix=a%20b'), 'Prefix')).toBe('a b');
    expect(textOf(await list('list-type=2&encoding-type=url&prefix=a%20b'), 'Prefix')).toBe('a%20b');
    const xml = await list('encoding-type=url&delimiter=/&prefix=');
    expect(textOf(xml, 'EncodingType')).toBe('url');
    expect(textsOf(xml, 'Key')).toEqual(['%01', '%C3%A9*~%21']);
    expect(xml).toContain('<Prefix>a%20b%2Bc/</Prefix>');
    expect(xml).toContain('<Delimiter>/</Delimiter>');
    expect(await list('list-type=2&encoding-type=url&start-after=a%20a')).toContain(
      '<StartAfter>a%20a</StartAfter>',
    );
    expect(await errorOf('/b?encoding-type=base64')).toBe('400 InvalidArgument');
  });

  it('carry keys that XML 1.0 cannot as references', async () => {
    await fill('a\u0001\r\n<&>"', '\ufffe');
    const xml = await list('list-type=2');
    expect(textsOf(xml, 'Key')).toEqual(['a&#x1;&#xD;&#xA;&lt;&amp;&gt;&quot;', '&#xFFFE;']);
  });

  it('treat an empty delimiter as none', async () => {
    await fill('a/b');
    expect(await list('delimiter=')).not.toContain('Delimiter');
    expect((s3.backend.calls.at(-1)?.request as ListObjectsRequest).delimiter).toBe(undefined);
  });

  it('read a plus in the query as a space', async () => {
    await fill('a b', 'a+b');
    expect(textsOf(await list('prefix=a+b'), 'Key')).toEqual(['a b']);
    expect(textsOf(await list('prefix=a%2Bb'), 'Key')).toEqual(['a+b']);
  });

  it('of versions work on buckets that have none', async () => {
    await fill('a', 'b');
    const xml = await list('versions&max-keys=1');
    expect(textsOf(xml, 'VersionId')).toEqual(['null']);
    expect(textOf(xml, 'IsLatest')).toBe('true');
    expect(textOf(xml, 'NextKeyMarker')).toBe('a');
    expect(textOf(xml, 'NextVersionIdMarker')).toBe('null');
    expect(await errorOf('/b?versions&version-id-marker=x')).toBe('400 InvalidArgument');
  });
});

describe('DeleteObjects', () => {
  async function deleteAll(
    body: string,
    headers: Record<string, string> = { 'x-amz-checksum-crc64nvme': '' },
  ): Promise<Response> {
    const { createHash } = await import('node:crypto');
    const digest = { 'content-md5': createHash('md5').update(body).digest('base64') };
    const all = 'x-amz-checksum-crc64nvme' in headers ? digest : headers;
    return s3.send({ method: 'POST', target: '/b?delete', body, headers: all });
  }

  function object(key: string): string {
    return `<Object><Key>${key}</Key></Object>`;
  }

  it('deletes up to 1,000 keys and tells each, or in quiet mode only errors', async () => {
    await fill('a', 'b&c', '\u0001');
    const body = `<?xml version="1.0"?><Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${object('a')}${object('b&amp;c')}${object('&#x1;')}${object('missing')}</Delete>`;
    const xml = await (await deleteAll(body)).text();
    expect(textsOf(xml, 'Key')).toEqual(['a', 'b&amp;c', '&#x1;', 'missing']);
    expect(xml).not.toContain('<Error>');
    expect(s3.backend.buckets.get('b')?.objects.size).toBe(0);
    const quiet = await deleteAll(
      `<Delete><Quiet>true</Quiet>${object('a')}${object('k'.repeat(1025))}</Delete>`,
    );
    const text = await quiet.text();
    expect(text).not.toContain('<Deleted>');
    expect(textsOf(text, 'Code')).toEqual(['KeyTooLongError']);
    expect((await deleteAll(`<Delete>${object('k').repeat(1000)}</Delete>`)).status).toBe(200);
    const tooMany = await deleteAll(`<Delete>${object('k').repeat(1001)}</Delete>`);
    expect([tooMany.status, textOf(await tooMany.text(), 'Code')]).toEqual([400, 'MalformedXML']);
    expect((await deleteAll('<Delete></Delete>')).status).toBe(400);
  });

  it('keeps the order of the keys and works on a few at a time', async () => {
    let running = 0;
    let most = 0;
    s3.backend.before = async (name) => {
      if (name !== 'deleteObject') return;
      most = Math.max(most, ++running);
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 3));
      running--;
    };
    const keys = Array.from({ length: 100 }, (_, at) => `k${at}`);
    const xml = await (await deleteAll(`<Delete>${keys.map(object).join('')}</Delete>`)).text();
    expect(textsOf(xml, 'Key')).toEqual(keys);
    expect(most).toBe(16);
  });

  it('wants a digest and accepts any checksum for it', async () => {
    const body = `<Delete>${object('a')}</Delete>`;
    const without = await deleteAll(body, {});
    expect([without.status, textOf(await without.text(), 'Code')]).toEqual([400, 'InvalidRequest']);
    const { createHash } = await import('node:crypto');
    const sha256 = createHash('sha256').update(body).digest('base64');
    expect((await deleteAll(body, { 'x-amz-checksum-sha256': sha256 })).status).toBe(200);
    const { Checksums } = await import('../backend/checksums/checksums.ts');
    const checksums = await Checksums.load();
    for (const algorithm of ['CRC32', 'CRC32C', 'CRC64NVME', 'SHA1'] as const) {
      const summer = checksums.create(algorithm);
      summer.update(Buffer.from(body));
      const value = Buffer.from(summer.digest()).toString('base64');
      const headers = {
        [`x-amz-checksum-${algorithm.toLowerCase()}`]: value,
        'x-amz-sdk-checksum-algorithm': algorithm,
      };
      const response = await s3.send({ method: 'POST', target: '/b?delete', body, headers });
      expect([algorithm, response.status]).toEqual([algorithm, 200]);
    }
    for (const headers of [
      { 'content-md5': createHash('md5').update('other').digest('base64') },
      { 'x-amz-checksum-sha256': createHash('sha256').update('other').digest('base64') },
    ] as Record<string, string>[]) {
      const wrong = await deleteAll(body, headers);
      expect([wrong.status, textOf(await wrong.text(), 'Code')]).toEqual([400, 'BadDigest']);
    }
  });

  it('passes versions and conditions on, and tells of delete markers', async () => {
    s3.backend.deleteObject = (request) => {
      s3.backend.calls.push({ name: 'deleteObject', request });
      return Promise.resolve({ versionId: 'marker', deleteMarker: true });
    };
    const body =
      '<Delete><Object><Key>a</Key><VersionId>v</VersionId><ETag>"e"</ETag><Size>3</Size>' +
      '<LastModifiedTime>Fri, 02 Jan 2026 03:04:05 GMT</LastModifiedTime></Object></Delete>';
    const xml = await (await deleteAll(body)).text();
    expect(xml).toContain(
      '<Deleted><Key>a</Key><VersionId>v</VersionId><DeleteMarker>true</DeleteMarker>' +
        '<DeleteMarkerVersionId>marker</DeleteMarkerVersionId></Deleted>',
    );
    expect(s3.backend.calls.at(-1)?.request).toMatchObject({
      versionId: 'v',
      preconditions: { ifMatch: ['e'], sizeBytes: 3, lastModifiedMs: Date.UTC(2026, 0, 2, 3, 4, 5) },
    });
  });

  it('is malformed, or too big, as a whole', async () => {
    for (const body of ['', '<Delete>', '<Remove></Remove>', '<Delete><Object></Object></Delete>', 'x']) {
      const response = await deleteAll(body);
      expect([body, response.status, textOf(await response.text(), 'Code')]).toEqual([
        body,
        400,
        'MalformedXML',
      ]);
    }
    const big = await deleteAll(`<Delete>${' '.repeat(3 * 1024 * 1024)}</Delete>`);
    expect(textOf(await big.text(), 'Code')).toBe('MaxMessageLengthExceeded');
  });

  it('gives unexpected errors of one key as InternalError of that key', async () => {
    s3.backend.before = (name, request) => {
      if (name === 'deleteObject' && (request as { key: string }).key === 'a') throw new Error('secret');
    };
    const xml = await (await deleteAll(`<Delete>${object('a')}${object('b')}</Delete>`)).text();
    expect(xml).toContain('<Error><Key>a</Key><Code>InternalError</Code>');
    expect(xml).toContain('<Deleted><Key>b</Key></Deleted>');
    expect(xml).not.toContain('secret');
  });
});
