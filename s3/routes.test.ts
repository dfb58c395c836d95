import { describe, expect, it } from 'vitest';
import { S3Error } from './errors.ts';
import { RequestHeaders } from './http/headers.ts';
import { Query } from './http/query.ts';
import type { ResourceLevel } from './resource.ts';
import { routes, selectOperation } from './routes.ts';

function select(
  method: string,
  level: ResourceLevel,
  query = '',
  headers: Record<string, string> = {},
): string {
  try {
    return selectOperation({
      method,
      level,
      query: Query.parse(query),
      headers: new RequestHeaders(new Map(Object.entries(headers).map(([name, value]) => [name, [value]]))),
    }).name;
  } catch (error) {
    if (error instanceof S3Error) return error.code;
    throw error;
  }
}

const copying = { 'x-amz-copy-source': 'b/k' };

describe('selectOperation', () => {
  it('chooses by method, level, sub-resource and header', () => {
    expect(select('GET', 'service')).toBe('ListBuckets');
    expect(select('GET', 'bucket')).toBe('ListObjects');
    expect(select('GET', 'bucket', 'list-type=2&prefix=a')).toBe('ListObjectsV2');
    expect(select('GET', 'bucket', 'versions')).toBe('ListObjectVersions');
    expect(select('GET', 'bucket', 'uploads=')).toBe('ListMultipartUploads');
    expect(select('POST', 'bucket', 'delete')).toBe('DeleteObjects');
    expect(select('PUT', 'object')).toBe('PutObject');
    expect(select('PUT', 'object', '', { 'x-amz-copy-source': 'b/k' })).toBe('CopyObject');
    expect(select('PUT', 'object', 'partNumber=1&uploadId=u')).toBe('UploadPart');
    expect(select('PUT', 'object', 'partNumber=1&uploadId=u', { 'x-amz-copy-source': 'b/k' })).toBe(
      'UploadPartCopy',
    );
    expect(select('POST', 'object', 'uploads')).toBe('CreateMultipartUpload');
    expect(select('POST', 'object', 'uploadId=u')).toBe('CompleteMultipartUpload');
    expect(select('DELETE', 'object', 'uploadId=u')).toBe('AbortMultipartUpload');
    expect(select('DELETE', 'object', 'versionId=v')).toBe('DeleteObject');
    expect(select('GET', 'object', 'uploadId=u')).toBe('ListParts');
    expect(select('GET', 'object', 'partNumber=1')).toBe('GetObject');
    expect(select('HEAD', 'object', 'versionId=v')).toBe('HeadObject');
  });

  it('never lets a sub-resource fall through to the plain operation', () => {
    const subresources = [
      ...['acl', 'tagging', 'retention', 'legal-hold', 'restore', 'torrent', 'select&select-type=2'],
      ...['renameObject', 'policy', 'cors', 'lifecycle', 'versioning', 'website', 'encryption'],
      ...['somethingNew', 'uploads', 'append', 'attributes', 'analytics', 'inventory', 'metrics'],
      ...['intelligent-tiering', 'session', 'x'],
    ];
    const plain = ['GET', 'HEAD', 'PUT', 'DELETE'].flatMap((method) => [
      select(method, 'object'),
      select(method, 'bucket'),
      select(method, 'object', '', { 'x-amz-copy-source': 'b/k' }),
    ]);
    for (const query of subresources) {
      for (const level of ['object', 'bucket'] as const) {
        for (const method of ['GET', 'HEAD', 'PUT', 'DELETE']) {
          const chosen = [select(method, level, query), select(method, level, query, copying)];
          expect([method, level, query, chosen.filter((name) => plain.includes(name))]).toEqual([
            method,
            level,
            query,
            [],
          ]);
        }
      }
    }
    for (const query of ['partNumber=1', 'uploadId=u&foo=1', 'uploadId=u', 'somethingNew']) {
      expect(select('PUT', 'object', query)).toBe('NotImplemented');
      expect(select('PUT', 'object', query, copying)).toBe('NotImplemented');
      expect(select('PUT', 'bucket', query)).toBe('NotImplemented');
      expect(select('DELETE', 'bucket', query)).toBe('NotImplemented');
    }
    expect(select('DELETE', 'object', 'partNumber=1')).toBe('NotImplemented');
  });

  it('ignores what SDKs and signatures add, and on reads what S3 ignores too', () => {
    expect(select('PUT', 'object', 'x-id=PutObject')).toBe('PutObject');
    expect(select('PUT', 'object', 'X-Amz-Algorithm=a&X-Amz-Signature=b&X-Amz-Expires=1')).toBe('PutObject');
    expect(select('GET', 'object', 'cache=123')).toBe('GetObject');
    expect(select('GET', 'object', '1700000000')).toBe('GetObject');
  });

  it('answers unknown methods and places', () => {
    expect(select('PUT', 'service')).toBe('MethodNotAllowed');
    expect(select('POST', 'bucket')).toBe('NotImplemented');
    expect(select('POST', 'object')).toBe('NotImplemented');
    expect(select('PATCH', 'object')).toBe('NotImplemented');
    expect(select('OPTIONS', 'object')).toBe('OptionsObject');
  });

  it('has no row that an earlier one hides', () => {
    const rows = routes.map((row) =>
      [row.method, row.level, [...row.query].sort().join('&'), row.header].join(' '),
    );
    expect(new Set(rows).size).toBe(rows.length);
    for (const [at, row] of routes.entries()) {
      const hiding = routes
        .slice(0, at)
        .find(
          (earlier) =>
            earlier.method === row.method &&
            earlier.level === row.level &&
            earlier.header === undefined &&
            earlier.query.every((name) => row.query.includes(name)),
        );
      expect(hiding?.operation.name).toBe(undefined);
    }
  });
});
