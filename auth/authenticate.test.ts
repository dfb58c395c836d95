import aws4 from 'aws4';
import { describe, expect, test } from 'vitest';
import { authenticate } from './authenticate.ts';
import { AuthError, type AuthErrorCode } from './errors.ts';
import type { SignedRequest } from './request.ts';
import { emptySha256 } from './signature.ts';
import {
  exampleCredential,
  exampleOptions,
  exampleTimeMs,
  onTheWire,
  requestOf,
} from './testing/requests.ts';

const host = 'examplebucket.s3.amazonaws.com';
const scope = '20130524/us-east-1/s3/aws4_request';
const minuteMs = 60_000;

function authorization(signedHeaders: string, signature: string): string {
  return `AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/${scope},SignedHeaders=${signedHeaders},Signature=${signature}`;
}

const simpleHeaders = 'host;x-amz-content-sha256;x-amz-date';

/** "Example: GET Object" of the S3 API reference, without the range; signed here by aws4 if changed. */
function signedGet(target = '/test.txt', headers: Record<string, string> = {}): SignedRequest {
  const signed = aws4.sign(
    {
      service: 's3',
      region: 'us-east-1',
      method: 'GET',
      path: target,
      headers: {
        Host: host,
        'X-Amz-Date': '20130524T000000Z',
        'X-Amz-Content-Sha256': emptySha256,
        ...headers,
      },
    },
    exampleCredential,
  );
  return requestOf('GET', target, signed.headers as Record<string, string>);
}

function withHeader(
  request: SignedRequest,
  name: string,
  value: string | readonly string[] | undefined,
): SignedRequest {
  const headers = new Map(request.headers);
  if (value === undefined) headers.delete(name);
  else headers.set(name, typeof value === 'string' ? [value] : value);
  return { ...request, headers };
}

async function refusal(
  request: SignedRequest,
  options: Partial<typeof exampleOptions> = {},
): Promise<AuthError> {
  const outcome = await authenticate(request, { ...exampleOptions, ...options }).catch(
    (error: unknown) => error,
  );
  expect(outcome).toBeInstanceOf(AuthError);
  return outcome as AuthError;
}

async function expectRefusal(request: SignedRequest, code: AuthErrorCode, message?: RegExp): Promise<void> {
  const error = await refusal(request);
  expect(error.code).toBe(code);
  if (message !== undefined) expect(error.message).toMatch(message);
}

describe('the examples of the S3 API reference', () => {
  test.each([
    {
      name: 'GET Object',
      method: 'GET',
      target: '/test.txt',
      headers: { range: 'bytes=0-9', 'x-amz-content-sha256': emptySha256 },
      signedHeaders: 'host;range;x-amz-content-sha256;x-amz-date',
      signature: 'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41',
    },
    {
      name: 'PUT Object',
      method: 'PUT',
      target: '/test$file.text',
      headers: {
        date: 'Fri, 24 May 2013 00:00:00 GMT',
        'x-amz-storage-class': 'REDUCED_REDUNDANCY',
        'x-amz-content-sha256': '44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072',
      },
      signedHeaders: 'date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class',
      signature: '98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd',
    },
    {
      name: 'GET Bucket Lifecycle',
      method: 'GET',
      target: '/?lifecycle',
      headers: { 'x-amz-content-sha256': emptySha256 },
      signedHeaders: simpleHeaders,
      signature: 'fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543',
    },
    {
      name: 'GET Bucket (List Objects)',
      method: 'GET',
      target: '/?max-keys=2&prefix=J',
      headers: { 'x-amz-content-sha256': emptySha256 },
      signedHeaders: simpleHeaders,
      signature: '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7',
    },
  ])('$name', async ({ method, target, headers, signedHeaders, signature }) => {
    const request = requestOf(method, target, {
      host,
      'x-amz-date': '20130524T000000Z',
      ...headers,
      authorization: authorization(signedHeaders, signature),
    });
    expect(await authenticate(request, exampleOptions)).toEqual({
      kind: 'signed',
      credential: exampleCredential,
      presigned: false,
      signedAtMs: exampleTimeMs,
      payload: { kind: 'sha256', hex: headers['x-amz-content-sha256'] },
    });
    const lastDigit = signature.endsWith('0') ? '1' : '0';
    await expectRefusal(
      withHeader(request, 'authorization', authorization(signedHeaders, signature.slice(0, -1) + lastDigit)),
      'SignatureDoesNotMatch',
    );
  });

  test('presigned GET', async () => {
    const target =
      '/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256' +
      '&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request' +
      '&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host' +
      '&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404';
    expect(await authenticate(requestOf('GET', target, { host }), exampleOptions)).toEqual({
      kind: 'signed',
      credential: exampleCredential,
      presigned: true,
      signedAtMs: exampleTimeMs,
      payload: { kind: 'unsigned' },
    });
    await expectRefusal(requestOf('PUT', target, { host }), 'SignatureDoesNotMatch');
    await expectRefusal(
      requestOf('GET', target, { host: 'other.s3.amazonaws.com' }),
      'SignatureDoesNotMatch',
    );
    await expectRefusal(requestOf('GET', target.replace('test', 'best'), { host }), 'SignatureDoesNotMatch');
    await expectRefusal(requestOf('GET', `${target}&acl`, { host }), 'SignatureDoesNotMatch');
  });

  test.each([
    {
      name: 'chunked upload',
      kind: 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD',
      extra: { 'content-length': '66824' },
      signedHeaders:
        'content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class',
      signature: '4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9',
      payload: { trailer: false },
    },
    {
      name: 'chunked upload with a trailer',
      kind: 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER',
      extra: { 'x-amz-trailer': 'x-amz-checksum-crc32c' },
      signedHeaders:
        'content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer',
      signature: '106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e',
      payload: { trailer: true, trailerNames: ['x-amz-checksum-crc32c'] },
    },
  ])('$name: the seed', async ({ kind, extra, signedHeaders, signature, payload }) => {
    const request = requestOf('PUT', '/examplebucket/chunkObject.txt', {
      host: 's3.amazonaws.com',
      'x-amz-date': '20130524T000000Z',
      'x-amz-storage-class': 'REDUCED_REDUNDANCY',
      'x-amz-content-sha256': kind,
      'content-encoding': 'aws-chunked',
      'x-amz-decoded-content-length': '66560',
      ...extra,
      authorization: authorization(signedHeaders, signature),
    });
    const authenticated = await authenticate(request, exampleOptions);
    expect(authenticated.payload).toMatchObject({
      kind: 'chunked',
      ...payload,
      decodedSizeBytes: 66560,
      signing: { seedSignature: signature, scope, timestamp: '20130524T000000Z' },
    });
  });
});

describe('anonymous requests', () => {
  test('are those with no credentials at all', async () => {
    const request = requestOf('GET', '/bucket/key?X-Amz-Expires=5&response-content-type=x', { host });
    expect(await authenticate(request, exampleOptions)).toEqual({
      kind: 'anonymous',
      payload: { kind: 'unsigned' },
    });
  });

  test('may carry a hash of the payload, which is checked', async () => {
    const request = requestOf('PUT', '/bucket/key', {
      host,
      'x-amz-content-sha256': emptySha256.toUpperCase(),
    });
    expect((await authenticate(request, exampleOptions)).payload).toEqual({
      kind: 'sha256',
      hex: emptySha256,
    });
  });

  test('may be framed without saying so in x-amz-content-sha256, as botocore does', async () => {
    const request = requestOf('PUT', '/bucket/key', {
      host,
      'content-encoding': 'gzip, aws-chunked',
      'x-amz-trailer': 'x-amz-checksum-crc32',
      'x-amz-decoded-content-length': '5',
    });
    expect((await authenticate(request, exampleOptions)).payload).toEqual({
      kind: 'chunked',
      trailer: true,
      trailerNames: ['x-amz-checksum-crc32'],
      decodedSizeBytes: 5,
    });
  });

  test.each([{}, { 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' }])(
    'are framed only if more than the encoding says so: %j',
    async (extra) => {
      const headers = { host, 'content-encoding': 'aws-chunked', ...extra };
      const plain = await authenticate(requestOf('PUT', '/k', headers), exampleOptions);
      expect(plain.payload).toEqual({ kind: 'unsigned' });
      const framed = requestOf('PUT', '/k', { ...headers, 'x-amz-decoded-content-length': '5' });
      expect((await authenticate(framed, exampleOptions)).payload).toEqual({
        kind: 'chunked',
        trailer: false,
        decodedSizeBytes: 5,
      });
    },
  );

  test('have no seed for signed chunks', async () => {
    const request = requestOf('PUT', '/k', {
      host,
      'x-amz-content-sha256': 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD',
    });
    await expectRefusal(request, 'InvalidRequest');
  });
});

describe('the Authorization header', () => {
  test('is accepted with any spacing and order of its fields', async () => {
    const request = signedGet();
    const [value = ''] = request.headers.get('authorization') ?? [];
    const [, credential, signedHeaders, signature] = /^\S+ (.*), (.*), (.*)$/.exec(value) ?? [];
    for (const text of [
      `AWS4-HMAC-SHA256   ${signature} ,  ${credential},${signedHeaders}`,
      `AWS4-HMAC-SHA256 ${credential},${signedHeaders},${signature} `,
      `AWS4-HMAC-SHA256 ${credential},SignedHeaders=x-amz-date;host;x-amz-content-sha256,${signature}`,
    ]) {
      const { kind } = await authenticate(withHeader(request, 'authorization', text), exampleOptions);
      expect(kind).toBe('signed');
    }
  });

  test.each<[string, AuthErrorCode]>([
    ['', 'AccessDenied'],
    ['   ', 'AccessDenied'],
    ['AWS AKIAIOSFODNN7EXAMPLE:frJIUN8DYpKDtOLCwo//yllqDzg=', 'InvalidRequest'],
    ['AWS4-ECDSA-P256-SHA256 Credential=a', 'InvalidRequest'],
    ['AWS HAHAHA', 'InvalidArgument'],
    ['Basic YTpi', 'InvalidArgument'],
    ['Bearer x', 'InvalidArgument'],
    ['AWS4-HMAC-SHA256', 'AuthorizationHeaderMalformed'],
    ['AWS4-HMAC-SHA256 nonsense', 'AuthorizationHeaderMalformed'],
    [`AWS4-HMAC-SHA256 Credential=A/${scope},SignedHeaders=host`, 'AuthorizationHeaderMalformed'],
    [
      `AWS4-HMAC-SHA256 Credential=A/${scope},SignedHeaders=host,Signature=a,Signature=a`,
      'AuthorizationHeaderMalformed',
    ],
    [
      `AWS4-HMAC-SHA256 Credential=A/${scope},SignedHeaders=host,Signature=a,More=a`,
      'AuthorizationHeaderMalformed',
    ],
    [`AWS4-HMAC-SHA256 Credential=${scope},SignedHeaders=host,Signature=a`, 'AuthorizationHeaderMalformed'],
    [
      'AWS4-HMAC-SHA256 Credential=A/2013/us-east-1/s3/aws4_request,SignedHeaders=host,Signature=a',
      'AuthorizationHeaderMalformed',
    ],
    [
      'AWS4-HMAC-SHA256 Credential=A/20130524/us-east-1/s3/aws5,SignedHeaders=host,Signature=a',
      'AuthorizationHeaderMalformed',
    ],
    [
      `AWS4-HMAC-SHA256 Credential=A/${scope},SignedHeaders=host;date;host,Signature=a`,
      'AuthorizationHeaderMalformed',
    ],
    [`AWS4-HMAC-SHA256 Credential=A/${scope},SignedHeaders=Host,Signature=a`, 'AuthorizationHeaderMalformed'],
    [`AWS4-HMAC-SHA256 Credential=A/${scope},SignedHeaders=,Signature=a`, 'AuthorizationHeaderMalformed'],
    [
      `AWS4-HMAC-SHA256 Credential=A/${scope},SignedHeaders=x-amz-date,Signature=a`,
      'AuthorizationHeaderMalformed',
    ],
  ])('refuses %j', async (value, code) => {
    await expectRefusal(withHeader(signedGet(), 'authorization', value), code);
  });

  test('is refused when it is given twice, or beside a presigned URL of either version', async () => {
    const request = signedGet();
    const value = request.headers.get('authorization') ?? [];
    await expectRefusal(withHeader(request, 'authorization', [...value, ...value]), 'InvalidArgument');
    for (const query of ['X-Amz-Signature=a', 'x-amz-credential=a', 'AWSAccessKeyId=a', 'Signature=a']) {
      await expectRefusal({ ...request, rawQuery: query }, 'InvalidArgument', /one auth mechanism/);
    }
  });

  test('must cover the host', async () => {
    const value = authorization('x-amz-content-sha256;x-amz-date', '0'.repeat(64));
    await expectRefusal(
      withHeader(signedGet(), 'authorization', value),
      'AuthorizationHeaderMalformed',
      /host/,
    );
  });

  test('must cover every x-amz-* header', async () => {
    const error = await refusal(withHeader(signedGet(), 'x-amz-acl', 'public-read'));
    expect(error).toMatchObject({ code: 'AccessDenied', details: { HeadersNotSigned: 'x-amz-acl' } });
    const signed = signedGet('/test.txt', { 'x-amz-acl': 'public-read' });
    expect((await authenticate(signed, exampleOptions)).kind).toBe('signed');
    await expectRefusal(withHeader(signed, 'x-amz-acl', 'private'), 'SignatureDoesNotMatch');
    await expectRefusal(
      withHeader(signed, 'x-amz-acl', undefined),
      'SignatureDoesNotMatch',
      /x-amz-acl is missing/,
    );
  });

  test('need not cover other headers', async () => {
    const request = withHeader(signedGet(), 'user-agent', 'x');
    expect((await authenticate(request, exampleOptions)).kind).toBe('signed');
  });

  test.each(['host', 'x-amz-date', 'x-amz-content-sha256'])('refuses a repeated %s', async (name) => {
    const request = signedGet();
    const value = request.headers.get(name) ?? [];
    await expectRefusal(withHeader(request, name, [...value, ...value]), 'InvalidRequest');
  });

  test('for another region is answered with the right one', async () => {
    const error = await refusal(signedGet(), { region: 'ap-southeast-2' });
    expect(error).toMatchObject({
      code: 'AuthorizationHeaderMalformed',
      details: { Region: 'ap-southeast-2' },
      message: "The authorization header is malformed; the region is wrong; expecting 'ap-southeast-2'",
    });
  });

  test('for another service is refused', async () => {
    const error = await refusal(signedGet(), { service: 's3db' });
    expect(error.code).toBe('AuthorizationHeaderMalformed');
    expect(error.message).toContain('"s3db"');
  });

  test('of another day than the request is refused', async () => {
    const request = withHeader(signedGet(), 'x-amz-date', '20130525T000000Z');
    await expectRefusal(request, 'AuthorizationHeaderMalformed', /date/);
  });

  test('of an unknown key is refused', async () => {
    const error = await refusal(signedGet(), { credentials: { find: async () => undefined } });
    expect(error).toMatchObject({
      code: 'InvalidAccessKeyId',
      details: { AWSAccessKeyId: 'AKIAIOSFODNN7EXAMPLE' },
    });
  });

  test('made with another secret is refused, also right after one with the true secret', async () => {
    await authenticate(signedGet(), exampleOptions);
    const changed = { ...exampleCredential, secretAccessKey: 'changed' };
    const error = await refusal(signedGet(), { credentials: { find: async () => changed } });
    expect(error.code).toBe('SignatureDoesNotMatch');
  });

  test('may be 15 minutes off, either way', async () => {
    for (const offsetMs of [-15 * minuteMs, 15 * minuteMs]) {
      const at = { ...exampleOptions, nowMs: exampleTimeMs + offsetMs };
      expect((await authenticate(signedGet(), at)).kind).toBe('signed');
      const error = await refusal(signedGet(), { nowMs: at.nowMs + Math.sign(offsetMs) });
      expect(error).toMatchObject({
        code: 'RequestTimeTooSkewed',
        details: { RequestTime: '20130524T000000Z', MaxAllowedSkewMilliseconds: '900000' },
      });
      expect(error.details['ServerTime']).toMatch(/^2013-05-2\dT\d\d:\d\d:\d\dZ$/);
    }
  });

  test.each([
    '',
    'yesterday',
    '20130524',
    '20130524T000000',
    '20130230T000000Z',
    '20130524T250000Z',
    '99999999T999999Z',
  ])('refuses the date %j', async (value) => {
    await expectRefusal(withHeader(signedGet(), 'x-amz-date', value), 'AccessDenied', /x-amz-date/);
  });

  test('needs a date', async () => {
    await expectRefusal(withHeader(signedGet(), 'x-amz-date', undefined), 'AccessDenied', /x-amz-date/);
  });

  // botocore writes -0000 where a Date was given to it.
  test.each([
    'Fri, 24 May 2013 00:00:00 GMT',
    'Fri, 24 May 2013 00:00:00 -0000',
    'Fri, 24 May 2013 00:00:00 +0000',
  ])('may be dated by the Date header alone: %s', async (date) => {
    const signer = new aws4.RequestSigner(
      {
        service: 's3',
        region: 'us-east-1',
        method: 'GET',
        path: '/k',
        doNotModifyHeaders: true,
        headers: { Host: host, Date: date, 'X-Amz-Content-Sha256': emptySha256 },
      },
      exampleCredential,
    );
    const request = requestOf('GET', '/k', signer.sign().headers as Record<string, string>);
    expect((await authenticate(request, exampleOptions)).kind).toBe('signed');
  });

  test('needs x-amz-content-sha256 for s3', async () => {
    await expectRefusal(
      withHeader(signedGet(), 'x-amz-content-sha256', undefined),
      'InvalidRequest',
      /content-sha256/,
    );
  });

  test.each(['abc', 'STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD', `${emptySha256}0`])(
    'refuses %j as x-amz-content-sha256',
    async (value) => {
      await expectRefusal(signedGet('/k', { 'X-Amz-Content-Sha256': value }), 'InvalidArgument');
    },
  );
});

describe('canonical form', () => {
  test.each([
    ['/bucket//k', '/bucket//k'],
    ['/bucket/../k', '/bucket/../k'],
    ['/bucket/./k/', '/bucket/./k/'],
    ['/a%2Fb', '/a/b'],
    ['/a%2bb', '/a%2Bb'],
    ['/a%2Bb', '/a+b'],
    ['/%7Ea', '/~a'],
    ["/a!b'(c)*d", '/a%21b%27%28c%29%2Ad'],
    ['/%E2%82%AC', '/€'],
    ['/a:b@c,d;e=f&g$h', '/a%3Ab%40c%2Cd%3Be%3Df%26g%24h'],
  ])('%s and %s are one path', async (signedPath, sentPath) => {
    const request = { ...signedGet(signedPath), rawPath: onTheWire(sentPath) };
    expect((await authenticate(request, exampleOptions)).kind).toBe('signed');
  });

  test.each([
    ['/a%20b', '/a+b'],
    ['/a%2Bb', '/a%20b'],
    ['/a/b', '/a//b'],
    ['/a/b', '/a/./b'],
    ['/a/b', '/a/c/../b'],
    ['/a%252Fb', '/a%2Fb'],
    ['/a', '/a/'],
    ['/a', '/A'],
  ])('%s and %s are two paths', async (signedPath, sentPath) => {
    await expectRefusal({ ...signedGet(signedPath), rawPath: sentPath }, 'SignatureDoesNotMatch');
  });

  test.each([
    ['a=1&b=2', 'b=2&a=1'],
    ['acl', 'acl='],
    ['prefix=a%20b', 'prefix=a+b'],
    ['prefix=a%2bb', 'prefix=a%2Bb'],
    ['prefix=a/b', 'prefix=a%2Fb'],
    ['prefix=%C3%A9', onTheWire('prefix=é')],
    ['a=b=c', 'a=b%3Dc'],
    ['a=1', '&a=1&&'],
    ['a-b=1&a=2', 'a=2&a-b=1'],
  ])('?%s and ?%s are one query', async (signed, sent) => {
    const request = { ...signedGet(`/?${signed}`), rawQuery: sent };
    expect((await authenticate(request, exampleOptions)).kind).toBe('signed');
  });

  test.each([
    ['prefix=a%2Bb', 'prefix=a+b'],
    ['a=1', 'a=1&a=1'],
    ['a=1', 'a=1&b'],
    ['a=1&b=2', 'a=2&b=1'],
    ['a', 'A'],
    ['a=', ''],
  ])('?%s and ?%s are two queries', async (signed, sent) => {
    await expectRefusal({ ...signedGet(`/?${signed}`), rawQuery: sent }, 'SignatureDoesNotMatch');
  });

  test('folds whitespace in headers, but not the bytes of a character', async () => {
    const request = signedGet('/k', { 'X-Amz-Meta-A': '  a   b \t c ', 'X-Amz-Meta-B': 'à' });
    const sent = withHeader(withHeader(request, 'x-amz-meta-a', 'a b c'), 'x-amz-meta-b', onTheWire('à'));
    expect((await authenticate(sent, exampleOptions)).kind).toBe('signed');
    await expectRefusal(withHeader(sent, 'x-amz-meta-a', 'ab c'), 'SignatureDoesNotMatch');
  });

  test('joins repeated headers with a comma', async () => {
    const request = signedGet('/k', { 'X-Amz-Meta-A': 'a,b' });
    const sent = withHeader(request, 'x-amz-meta-a', ['a', ' b ']);
    expect((await authenticate(sent, exampleOptions)).kind).toBe('signed');
  });
});

describe('presigned URLs', () => {
  function presigned(
    change: (query: Map<string, string>) => void = () => undefined,
    extra: Record<string, string> = {},
  ) {
    const { path = '' } = aws4.sign(
      {
        service: 's3',
        region: 'us-east-1',
        method: 'GET',
        signQuery: true,
        path: '/k?X-Amz-Date=20130524T000000Z&X-Amz-Expires=600&response-content-type=text%2Fplain',
        headers: { Host: host, ...extra },
      },
      exampleCredential,
    );
    const query = new Map<string, string>();
    for (const part of path.slice(path.indexOf('?') + 1).split('&')) {
      const [name = '', value = ''] = part.split('=');
      query.set(name, value);
    }
    change(query);
    const text = Array.from(query, ([name, value]) => `${name}=${value}`).join('&');
    return requestOf('GET', `/k?${text}`, { host, ...extra });
  }

  test('are valid from 15 minutes before their date until they expire', async () => {
    for (const atMs of [-15 * minuteMs, 0, 10 * minuteMs]) {
      const at = { ...exampleOptions, nowMs: exampleTimeMs + atMs };
      expect(await authenticate(presigned(), at)).toMatchObject({ kind: 'signed', presigned: true });
    }
    const early = await refusal(presigned(), { nowMs: exampleTimeMs - 15 * minuteMs - 1 });
    expect(early).toMatchObject({ code: 'AccessDenied', message: 'Request is not valid yet' });
    const late = await refusal(presigned(), { nowMs: exampleTimeMs + 10 * minuteMs + 1 });
    expect(late).toMatchObject({
      code: 'AccessDenied',
      message: 'Request has expired',
      details: {
        'X-Amz-Expires': '600',
        Expires: '2013-05-24T00:10:00Z',
        ServerTime: '2013-05-24T00:10:00Z',
      },
    });
  });

  test.each(['0', '-1', '604801', '', 'x', '1.5', '1e3', '99999999999999999999'])(
    'cannot live for %j s',
    async (value) => {
      const request = presigned((query) => query.set('X-Amz-Expires', value));
      await expectRefusal(request, 'AuthorizationQueryParametersError', /X-Amz-Expires/);
    },
  );

  test.each(['1', '604800'])('can live for %s s, if they were signed so', async (value) => {
    const request = presigned((query) => query.set('X-Amz-Expires', value));
    await expectRefusal(request, 'SignatureDoesNotMatch');
  });

  test.each([
    'X-Amz-Algorithm',
    'X-Amz-Credential',
    'X-Amz-Date',
    'X-Amz-Expires',
    'X-Amz-SignedHeaders',
    'X-Amz-Signature',
  ])('need %s, once', async (name) => {
    const without = presigned((query) => query.delete(name));
    await expectRefusal(without, 'AuthorizationQueryParametersError', /requires/);
    const request = presigned();
    const twice = { ...request, rawQuery: `${request.rawQuery}&${name.toLowerCase()}=x` };
    await expectRefusal(twice, 'AuthorizationQueryParametersError', /more than once/);
  });

  test('of signature version 2 or another algorithm are refused', async () => {
    const v2 = requestOf('GET', '/k?AWSAccessKeyId=A&Signature=b&Expires=1', { host });
    await expectRefusal(v2, 'InvalidRequest', /AWS4-HMAC-SHA256.*s3\.signature_version s3v4/);
    const other = presigned((query) => query.set('X-Amz-Algorithm', 'AWS4-ECDSA-P256-SHA256'));
    await expectRefusal(other, 'InvalidRequest', /AWS4-HMAC-SHA256/);
  });

  test('of an impossible date are refused', async () => {
    const request = presigned((query) => query.set('X-Amz-Date', '20130230T000000Z'));
    await expectRefusal(request, 'AuthorizationQueryParametersError', /X-Amz-Date/);
  });

  test('for another region or service are refused, naming the right one', async () => {
    const error = await refusal(presigned(), { region: 'eu-west-1' });
    expect(error).toMatchObject({
      code: 'AuthorizationQueryParametersError',
      details: { Region: 'eu-west-1' },
    });
    expect((await refusal(presigned(), { service: 's3db' })).code).toBe('AuthorizationQueryParametersError');
  });

  test('enforce the headers they sign, and take no other x-amz-* header', async () => {
    const request = presigned(undefined, { 'content-type': 'text/plain', 'x-amz-acl': 'private' });
    expect((await authenticate(request, exampleOptions)).kind).toBe('signed');
    await expectRefusal(withHeader(request, 'content-type', 'text/html'), 'SignatureDoesNotMatch');
    await expectRefusal(
      withHeader(request, 'content-type', undefined),
      'SignatureDoesNotMatch',
      /content-type/,
    );
    await expectRefusal(withHeader(request, 'x-amz-tagging', 'a=b'), 'AccessDenied', /not signed/);
  });

  test('refuse two different hashes of the payload', async () => {
    const request = presigned((query) => query.set('X-Amz-Content-Sha256', 'UNSIGNED-PAYLOAD'), {
      'x-amz-content-sha256': emptySha256,
    });
    await expectRefusal(request, 'InvalidRequest', /differs/);
  });
});

describe('other services', () => {
  const options = { ...exampleOptions, service: 's3db' };

  function signedFor(method: string, path: string, body?: string, headers: Record<string, string> = {}) {
    const signed = aws4.sign(
      {
        service: 's3db',
        region: 'us-east-1',
        method,
        path,
        ...(body === undefined ? {} : { body }),
        headers: { Host: 'db-1', 'X-Amz-Date': '20130524T000000Z', ...headers },
      },
      exampleCredential,
    );
    return requestOf(method, path, signed.headers as Record<string, string>);
  }

  test.each([
    '/v1/get/t/00ff',
    '/v1/get/a%20b/00',
    '/a//b/../c/./d',
    '/',
    '/v1/scan/t?limit=2&prefix=00',
    '/a%2Fb',
  ])('normalise and encode twice as aws4 does: %s', async (path) => {
    expect(await authenticate(signedFor('GET', path), options)).toMatchObject({
      kind: 'signed',
      payload: { kind: 'sha256', hex: emptySha256 },
    });
  });

  test('take the hash of the body from the header, else from the caller, else the body must be empty', async () => {
    const body = 'value';
    const hex = 'cd42404d52ad55ccfa9aca4adc828aa5800ad9d385a0671fbcbf724118320619';
    const withHash = signedFor('POST', '/v1/put/t/00', body, { 'X-Amz-Content-Sha256': hex });
    expect((await authenticate(withHash, options)).payload).toEqual({ kind: 'sha256', hex });
    const without = signedFor('POST', '/v1/put/t/00', body);
    expect((await authenticate(without, { ...options, bodySha256: hex })).payload).toEqual({
      kind: 'sha256',
      hex,
    });
    const error = await refusal(without, options);
    expect(error.code).toBe('SignatureDoesNotMatch');
  });
});

test('no refusal says what the right signature would have been', async () => {
  const request = signedGet();
  const [value = ''] = request.headers.get('authorization') ?? [];
  const signature = value.slice(-64);
  const wrong = withHeader(request, 'authorization', value.slice(0, -64) + '0'.repeat(64));
  const texts: string[] = [];
  for (const [asked, options] of [
    [wrong, {}],
    [request, { nowMs: 0 }],
    [request, { region: 'x' }],
    [request, { service: 'x' }],
    [request, { credentials: { find: async () => undefined } }],
    [withHeader(request, 'x-amz-acl', 'a'), {}],
    [{ ...request, rawQuery: 'X-Amz-Signature=1' }, {}],
    [withHeader(request, 'authorization', [value, value]), {}],
    [withHeader(request, 'authorization', `${value},Signature=1`), {}],
  ] as const) {
    const error = await refusal(asked, options);
    texts.push(`${error.message} ${JSON.stringify(error.details)} ${error.stack ?? ''}`);
  }
  for (const text of texts) {
    expect(text).not.toContain(signature);
    expect(text).not.toContain(exampleCredential.secretAccessKey);
  }
});
