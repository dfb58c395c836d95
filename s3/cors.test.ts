import { createHash } from 'node:crypto';
import { beforeEach, describe, expect, it } from 'vitest';
import { alice, aliceOwner, bob, createHarness, type Harness, textOf } from './testing/harness.ts';

let s3: Harness;
beforeEach(() => {
  s3 = createHarness();
  s3.backend.addBucket('b', { owner: aliceOwner });
  s3.backend.addBucket('open', { owner: aliceOwner, public: true });
});

async function errorOf(response: Response): Promise<string> {
  return `${response.status} ${textOf(await response.text(), 'Code') ?? ''}`;
}

async function configure(rules: string, bucket = 'open', as = alice): Promise<Response> {
  const body = `<CORSConfiguration>${rules}</CORSConfiguration>`;
  const md5 = createHash('md5').update(body).digest('base64');
  return s3.send({ method: 'PUT', target: `/${bucket}?cors`, body, as, headers: { 'content-md5': md5 } });
}

function rule(methods: string[], origins: string[], more = ''): string {
  return (
    '<CORSRule>' +
    origins.map((origin) => `<AllowedOrigin>${origin}</AllowedOrigin>`).join('') +
    methods.map((method) => `<AllowedMethod>${method}</AllowedMethod>`).join('') +
    `${more}</CORSRule>`
  );
}

async function answer(
  method: string,
  target: string,
  headers: Record<string, string>,
): Promise<[number, string | null, string | null]> {
  const response = await s3.send({ method, target, headers, as: null });
  return [
    response.status,
    response.headers.get('access-control-allow-origin'),
    response.headers.get('access-control-allow-methods'),
  ];
}

describe('the CORS configuration of a bucket', () => {
  it('is set, given back and deleted by its owner alone', async () => {
    expect(await errorOf(await s3.send({ target: '/open?cors' }))).toBe('404 NoSuchCORSConfiguration');
    const more =
      '<ID>one</ID><AllowedHeader>x-*</AllowedHeader><ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>30</MaxAgeSeconds>';
    expect((await configure(rule(['GET', 'PUT'], ['https://a.example', '*.b'], more))).status).toBe(200);
    const xml = await (await s3.send({ target: '/open?cors' })).text();
    expect(xml).toContain(
      '<CORSRule><ID>one</ID><AllowedMethod>GET</AllowedMethod><AllowedMethod>PUT</AllowedMethod>' +
        '<AllowedOrigin>https://a.example</AllowedOrigin><AllowedOrigin>*.b</AllowedOrigin>' +
        '<AllowedHeader>x-*</AllowedHeader><ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>30</MaxAgeSeconds></CORSRule>',
    );
    expect(await errorOf(await configure(rule(['GET'], ['*']), 'open', bob))).toBe('403 AccessDenied');
    expect(await errorOf(await s3.send({ target: '/open?cors', as: bob }))).toBe('403 AccessDenied');
    expect((await s3.send({ method: 'DELETE', target: '/open?cors', as: bob })).status).toBe(403);
    expect((await s3.send({ method: 'DELETE', target: '/open?cors' })).status).toBe(204);
    expect(await errorOf(await s3.send({ target: '/open?cors' }))).toBe('404 NoSuchCORSConfiguration');
  });

  it('is refused where S3 refuses it, and the one before stays', async () => {
    await configure(rule(['GET'], ['kept']));
    const cases: [string, string][] = [
      ['', '400 MalformedXML'],
      [rule([], ['*']), '400 MalformedXML'],
      [rule(['GET'], []), '400 MalformedXML'],
      [rule(['PATCH'], ['*']), '400 InvalidRequest'],
      [rule(['GET'], ['*.*']), '400 InvalidRequest'],
      [rule(['GET'], ['*'], '<AllowedHeader>*-*</AllowedHeader>'), '400 InvalidRequest'],
      [rule(['GET'], ['*'], '<ExposeHeader>x-*</ExposeHeader>'), '400 InvalidRequest'],
      [rule(['GET'], ['*'], '<ExposeHeader>x\r\ny</ExposeHeader>'), '400 InvalidRequest'],
      [rule(['GET'], ['*'], '<MaxAgeSeconds>soon</MaxAgeSeconds>'), '400 MalformedXML'],
      [rule(['GET'], ['*'], '<Unknown>1</Unknown>'), '400 MalformedXML'],
      [rule(['GET'], ['*']).repeat(101), '400 MalformedXML'],
    ];
    for (const [rules, error] of cases)
      expect([rules, await errorOf(await configure(rules))]).toEqual([rules, error]);
    const body = `<CORSConfiguration>${rule(['GET'], ['*'])}</CORSConfiguration>`;
    expect(await errorOf(await s3.send({ method: 'PUT', target: '/open?cors', body }))).toBe(
      '400 InvalidRequest',
    );
    expect(await (await s3.send({ target: '/open?cors' })).text()).toContain('kept');
  });
});

describe('requests of other origins', () => {
  it('are answered with what the first rule that fits allows, also where they are refused', async () => {
    await configure(
      rule(['GET'], ['*suffix']) +
        rule(['GET'], ['start*end']) +
        rule(['GET'], ['prefix*']) +
        rule(['PUT'], ['*.put']),
    );
    const none = [null, null];
    expect(await answer('GET', '/open', {})).toEqual([200, ...none]);
    const origins: [string, boolean][] = [
      ['foo.suffix', true],
      ['foo.suffix.get', false],
      ['startend', true],
      ['start12end', true],
      ['0start12end', false],
      ['starend', false],
      ['prefix.more', true],
    ];
    for (const [origin, allowed] of origins) {
      const expected = allowed ? [origin, 'GET'] : none;
      expect(await answer('GET', '/open', { origin })).toEqual([200, ...expected]);
      expect(await answer('GET', '/open/missing', { origin })).toEqual([404, ...expected]);
      const asking = { origin, 'access-control-request-method': 'GET' };
      expect(await answer('OPTIONS', '/open/k?X-Amz-Signature=x&uploads', asking)).toEqual([
        allowed ? 200 : 403,
        ...expected,
      ]);
    }
    const put = (headers: Record<string, string>) => answer('PUT', '/open/k', headers);
    expect(await put({ origin: 'a.put' })).toEqual([403, 'a.put', 'PUT']);
    expect(await put({ origin: 'a.suffix' })).toEqual([403, ...none]);
    const asked = { origin: 'a.suffix', 'access-control-request-method': 'GET' };
    expect(await put(asked)).toEqual([403, 'a.suffix', 'GET']);
    const wrong = { origin: 'a.suffix', authorization: 'AWS4-HMAC-SHA256 nonsense' };
    expect((await answer('GET', '/open', wrong)).slice(1)).toEqual(['a.suffix', 'GET']);
  });

  it('say who may see the answer, and for how long', async () => {
    const more =
      '<AllowedHeader>X-Amz-*</AllowedHeader><AllowedHeader>content-type</AllowedHeader><ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>30</MaxAgeSeconds>';
    await configure(rule(['GET', 'HEAD'], ['https://a.example', '*'], more));
    const headers = {
      origin: 'https://a.example',
      'access-control-request-method': 'GET',
      'access-control-request-headers': 'x-amz-date, Content-Type',
    };
    const response = await s3.send({ method: 'OPTIONS', target: '/open', headers, as: null });
    expect(response.status).toBe(200);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'access-control-allow-origin': 'https://a.example',
      'access-control-allow-methods': 'GET, HEAD',
      'access-control-allow-headers': 'x-amz-date, content-type',
      'access-control-expose-headers': 'ETag',
      'access-control-max-age': '30',
      'access-control-allow-credentials': 'true',
      vary: 'Origin, Access-Control-Request-Headers, Access-Control-Request-Method',
    });
    const anyone = await s3.send({ target: '/open', headers: { origin: 'http://b' }, as: null });
    expect(anyone.headers.get('access-control-allow-origin')).toBe('*');
    expect(anyone.headers.has('access-control-allow-credentials')).toBe(false);
    const other = { ...headers, 'access-control-request-headers': 'x-other' };
    expect((await answer('OPTIONS', '/open', other))[0]).toBe(403);
  });

  it('that ask beforehand are refused in S3’s words', async () => {
    await configure(rule(['GET'], ['*']));
    const asking = { origin: 'http://x', 'access-control-request-method': 'GET' };
    const options = (target: string, headers: Record<string, string>) =>
      s3.send({ method: 'OPTIONS', target, headers, as: null });
    expect(await errorOf(await options('/open', {}))).toBe('400 BadRequest');
    expect(await errorOf(await options('/open', { origin: 'http://x' }))).toBe('400 BadRequest');
    const patch = { ...asking, 'access-control-request-method': 'PATCH' };
    expect(await errorOf(await options('/open', patch))).toBe('400 BadRequest');
    for (const target of ['/b', '/nowhere/k', '/'])
      expect([target, await errorOf(await options(target, asking))]).toEqual([target, '403 AccessForbidden']);
    const xml = await (await options('/b/k', asking)).text();
    expect([textOf(xml, 'Method'), textOf(xml, 'ResourceType')]).toEqual(['GET', 'OBJECT']);
  });
});

describe('who pays for requests', () => {
  it('is the owner of the bucket, and nobody else', async () => {
    const put = (payer: string) => {
      const body = `<RequestPaymentConfiguration><Payer>${payer}</Payer></RequestPaymentConfiguration>`;
      const md5 = createHash('md5').update(body).digest('base64');
      const headers = { 'content-md5': md5 };
      return s3.send({ method: 'PUT', target: '/b?requestPayment', body, headers });
    };
    expect((await put('BucketOwner')).status).toBe(200);
    expect(await errorOf(await put('Requester'))).toBe('501 NotImplemented');
    expect(await errorOf(await put('Nobody'))).toBe('400 MalformedXML');
    expect(textOf(await (await s3.send({ target: '/b?requestPayment' })).text(), 'Payer')).toBe(
      'BucketOwner',
    );
  });
});
