import { describe, expect, it } from 'vitest';
import { S3Error } from './errors.ts';
import { splitTarget } from './http/target.ts';
import { parseResource } from './resource.ts';

function parse(target: string, host = 's3.test', domain = ''): ReturnType<typeof parseResource> {
  return parseResource(splitTarget(target).rawPath, { host, domain });
}

function codeOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof S3Error) return error.code;
    throw error;
  }
  return 'none';
}

describe('parseResource', () => {
  it('takes everything behind the bucket as the key, whatever it looks like', () => {
    const keys = [
      'k',
      '/k',
      '//',
      '../x',
      './.',
      'a//b',
      'a/',
      '.',
      '..',
      'a/../../b',
      '%',
      'ü',
      'a b',
      'a+b',
      '?',
      '#',
    ];
    for (const key of keys) {
      const target = `/bucket/${key.split('/').map(encodeURIComponent).join('/')}`;
      expect(parse(target)).toEqual({ level: 'object', bucket: 'bucket', key });
    }
  });

  it('does not decode twice and leaves a plus alone', () => {
    expect(parse('/b/a%252Fb+c').key).toBe('a%2Fb+c');
  });

  it('tells service, bucket and object apart', () => {
    expect(parse('/').level).toBe('service');
    expect(parse('/?x=/a/b').level).toBe('service');
    expect(parse('/b').level).toBe('bucket');
    expect(parse('/b/').level).toBe('bucket');
    expect(parse('/b?prefix=a/b').level).toBe('bucket');
    expect(parse('/b//')).toEqual({ level: 'object', bucket: 'b', key: '/' });
  });

  it('understands the absolute form that proxies are sent', () => {
    expect(parse('http://proxy.test:80/b/a/../k')).toEqual({ level: 'object', bucket: 'b', key: 'a/../k' });
    expect(parse('http://proxy.test').level).toBe('service');
  });

  it('finds buckets in the host below the domain, dots and all', () => {
    expect(parse('/k/j', 'my.bucket.s3.test:8443', 's3.test')).toEqual({
      level: 'object',
      bucket: 'my.bucket',
      key: 'k/j',
    });
    expect(parse('/', 'photos.s3.test', 's3.test')).toEqual({ level: 'bucket', bucket: 'photos', key: '' });
    expect(parse('//k', 'photos.s3.test', 's3.test').key).toBe('/k');
    expect(parse('/b/k', 's3.test', 's3.test').bucket).toBe('b');
    expect(parse('/b/k', 'other.test', 's3.test').bucket).toBe('b');
    expect(parse('/b/k', 'photos.s3.test').bucket).toBe('b');
  });

  it('refuses what cannot be a key', () => {
    expect(codeOf(() => parse('/b/%zz'))).toBe('InvalidURI');
    expect(codeOf(() => parse('/b/%ff%fe'))).toBe('InvalidURI');
    expect(codeOf(() => parse('/b/%ED%A0%80'))).toBe('InvalidURI');
    expect(codeOf(() => parse('/b/a%00b'))).toBe('InvalidArgument');
    expect(codeOf(() => parse(`/b/${'a'.repeat(1025)}`))).toBe('KeyTooLongError');
    expect(codeOf(() => parse(`/b/${'%C3%BC'.repeat(513)}`))).toBe('KeyTooLongError');
    expect(codeOf(() => parse(`/b/${'%C3%BC'.repeat(512)}`))).toBe('none');
    expect(codeOf(() => parse('//k'))).toBe('InvalidBucketName');
  });
});
