import { beforeEach, describe, expect, it } from 'vitest';
import { aliceOwner, bob, createHarness, type Harness, textOf } from './testing/harness.ts';

let s3: Harness;
beforeEach(async () => {
  s3 = createHarness({ websiteDomain: 'web.test' });
  s3.backend.addBucket('site', { owner: aliceOwner, public: true });
  s3.backend.addBucket('private', { owner: aliceOwner });
  await put('index.html', '<p>home</p>');
  await put('docs/index.html', 'docs');
  await put('a b.html', 'spaced');
  await put('error.html', 'sorry');
});

const index = '<IndexDocument><Suffix>index.html</Suffix></IndexDocument>';
const errors = '<ErrorDocument><Key>error.html</Key></ErrorDocument>';

async function put(key: string, body: string, headers: Record<string, string> = {}): Promise<Response> {
  const target = `/site/${encodeURIComponent(key)}`;
  return s3.send({ method: 'PUT', target, body, headers: { 'content-type': 'text/html', ...headers } });
}

async function configure(document: string, bucket = 'site'): Promise<string> {
  const body = `<WebsiteConfiguration>${document}</WebsiteConfiguration>`;
  const response = await s3.send({ method: 'PUT', target: `/${bucket}?website`, body });
  return `${response.status} ${textOf(await response.text(), 'Code') ?? ''}`;
}

function rules(...each: string[]): string {
  return `<RoutingRules>${each.map((rule) => `<RoutingRule>${rule}</RoutingRule>`).join('')}</RoutingRules>`;
}

async function browse(
  target: string,
  options: { method?: string; bucket?: string; headers?: Record<string, string> } = {},
): Promise<[number, string]> {
  const { method = 'GET', bucket = 'site', headers = {} } = options;
  const response = await s3.send({ method, target, headers, as: null, host: `${bucket}.web.test:8443` });
  return [response.status, response.headers.get('location') ?? (await response.text())];
}

describe('the website configuration of a bucket', () => {
  it('is set, given back and deleted', async () => {
    const get = () => s3.send({ target: '/site?website' });
    expect(textOf(await (await get()).text(), 'Code')).toBe('NoSuchWebsiteConfiguration');
    const rule =
      '<Condition><KeyPrefixEquals>old/</KeyPrefixEquals></Condition><Redirect><ReplaceKeyPrefixWith>new/</ReplaceKeyPrefixWith><HttpRedirectCode>302</HttpRedirectCode></Redirect>';
    expect(await configure(index + errors + rules(rule))).toBe('200 ');
    const xml = await (await get()).text();
    expect(xml).toContain(`${index}${errors}<RoutingRules><RoutingRule>${rule}</RoutingRule></RoutingRules>`);
    const byBob = { target: '/site?website', as: bob };
    expect((await s3.send(byBob)).status).toBe(403);
    expect((await s3.send({ ...byBob, method: 'DELETE' })).status).toBe(403);
    expect((await s3.send({ method: 'DELETE', target: '/site?website' })).status).toBe(204);
    expect((await get()).status).toBe(404);
  });

  it('is refused where it makes no sense', async () => {
    const redirect = '<RedirectAllRequestsTo><HostName>x.test</HostName></RedirectAllRequestsTo>';
    const cases: [string, string][] = [
      ['', '400 InvalidArgument'],
      [errors, '400 InvalidArgument'],
      ['<IndexDocument><Suffix>a/b</Suffix></IndexDocument>', '400 InvalidArgument'],
      [redirect + index, '400 InvalidArgument'],
      ['<RedirectAllRequestsTo><HostName>a b</HostName></RedirectAllRequestsTo>', '400 InvalidArgument'],
      [index + rules('<Redirect></Redirect>'), '400 InvalidRequest'],
      [index + rules('<Redirect><HttpRedirectCode>200</HttpRedirectCode></Redirect>'), '400 InvalidRequest'],
      [index + rules('<Redirect><Protocol>ftp</Protocol></Redirect>'), '400 InvalidRequest'],
      [
        index +
          rules(
            '<Redirect><ReplaceKeyWith>a</ReplaceKeyWith><ReplaceKeyPrefixWith>b</ReplaceKeyPrefixWith></Redirect>',
          ),
        '400 InvalidRequest',
      ],
      [index + rules('<Redirect><Protocol>http</Protocol></Redirect>').repeat(2), '400 MalformedXML'],
      ['<Other/>', '400 MalformedXML'],
    ];
    for (const [document, error] of cases)
      expect([document, await configure(document)]).toEqual([document, error]);
  });
});

describe('a website', () => {
  it('shows pages, and of directories their index', async () => {
    await configure(index);
    expect(await browse('/')).toEqual([200, '<p>home</p>']);
    expect(await browse('/?utm=1&acl&uploads')).toEqual([200, '<p>home</p>']);
    expect(await browse('/docs/')).toEqual([200, 'docs']);
    expect(await browse('/docs')).toEqual([302, 'https://site.web.test:8443/docs/']);
    expect(await browse('/a%20b.html')).toEqual([200, 'spaced']);
    expect(await browse('/index.html', { headers: { range: 'bytes=3-6' } })).toEqual([206, 'home']);
    expect(await browse('/', { method: 'HEAD' })).toEqual([200, '']);
    expect((await browse('/', { method: 'PUT' }))[0]).toBe(405);
    expect((await browse('/', { method: 'DELETE' }))[0]).toBe(405);
  });

  it('shows nothing but what anyone may read', async () => {
    await configure(index, 'private');
    await s3.send({ method: 'PUT', target: '/private/index.html', body: 'secret' });
    const [status, text] = await browse('/', { bucket: 'private' });
    expect([status, text.includes('AccessDenied'), text.includes('secret')]).toEqual([403, true, false]);
    const signed = await s3.send({ target: '/', host: 'private.web.test' });
    expect(signed.status).toBe(403);
    expect((await browse('/', { bucket: 'nowhere' }))[0]).toBe(404);
    expect((await browse('/'))[1]).toContain('NoSuchWebsiteConfiguration');
  });

  it('answers errors with its own page, else with a plain one', async () => {
    await configure(index);
    const [status, text] = await browse('/%3Cscript%3E');
    expect([status, text.includes('404 NoSuchKey'), text.includes('<script>')]).toEqual([404, true, false]);
    await configure(index + errors);
    expect(await browse('/missing', { headers: { range: 'bytes=0-1' } })).toEqual([404, 'sorry']);
    await s3.send({ method: 'DELETE', target: '/site/error.html' });
    expect((await browse('/missing'))[1]).toContain('404 NoSuchKey');
  });

  it('redirects by rules, by objects and altogether', async () => {
    const condition = (text: string): string => `<Condition>${text}</Condition>`;
    await configure(
      index +
        rules(
          condition('<KeyPrefixEquals>old/</KeyPrefixEquals>') +
            '<Redirect><ReplaceKeyPrefixWith>docs/</ReplaceKeyPrefixWith></Redirect>',
          condition(
            '<KeyPrefixEquals>gone</KeyPrefixEquals><HttpErrorCodeReturnedEquals>404</HttpErrorCodeReturnedEquals>',
          ) +
            '<Redirect><Protocol>http</Protocol><HostName>other.test</HostName><ReplaceKeyWith>lost</ReplaceKeyWith><HttpRedirectCode>307</HttpRedirectCode></Redirect>',
        ),
    );
    expect(await browse('/old/x y'.replace(' ', '%20'))).toEqual([
      301,
      'https://site.web.test:8443/docs/x%20y',
    ]);
    expect(await browse('/gone/for/ever')).toEqual([307, 'http://other.test/lost']);
    expect((await browse('/missing'))[0]).toBe(404);
    await put('moved', '', { 'x-amz-website-redirect-location': 'https://elsewhere.test/' });
    expect(await browse('/moved')).toEqual([301, 'https://elsewhere.test/']);
    const wrong = await put('wrong', '', { 'x-amz-website-redirect-location': 'javascript:alert(1)' });
    expect(textOf(await wrong.text(), 'Code')).toBe('InvalidRedirectLocation');
    await configure('<RedirectAllRequestsTo><HostName>new.test</HostName></RedirectAllRequestsTo>');
    expect(await browse('/a/b')).toEqual([301, 'https://new.test/a/b']);
  });
});
