import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { aliceOwner, createHarness, region, textOf, textsOf } from '../../s3/testing/harness.ts';
import { encoded, openDistributed, openFilesystem, type OpenedBackend } from './backends.ts';
import { ModelBucket } from './model.ts';

/** Few and nasty, so that they meet: order of UTF-8, dots, slashes, what URLs and XML escape. */
const key = fc.oneof(
  fc.constantFrom(
    'a',
    'a/',
    'a/b',
    'a//b',
    '/a',
    '.',
    '..',
    '../a',
    'a b',
    'a+b',
    'a%2Fb',
    '%',
    'é',
    '\ud83d\ude00',
    '\uffee',
    '<&>"',
    'a\tb',
  ),
  fc
    .string({ minLength: 1, maxLength: 8, unit: 'grapheme' })
    .filter((text) => text.isWellFormed() && !text.includes('\0')),
);
const body = fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.constantFrom(new Uint8Array(70_000).fill(7)));
const range = fc.oneof(
  fc.tuple(fc.nat(80), fc.nat(80)).map(([a, b]) => `bytes=${a}-${b}`),
  fc.nat(80_000).map((a) => `bytes=${a}-`),
  fc.nat(80_000).map((a) => `bytes=-${a}`),
  fc.constantFrom(
    'bytes=',
    'bytes=-',
    'lines=1-2',
    'bytes=0-1,3-4',
    'bytes=x-y',
    'bytes=99999999999999999999-',
  ),
);
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('put' as const), key, body }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('get' as const),
      key,
      range: fc.option(range, { nil: undefined }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('delete' as const), key }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('copy' as const), key, source: key }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('list' as const),
      prefix: fc.constantFrom('', 'a', 'a/', '/', '.', 'é'),
      delimiter: fc.constantFrom('', '/', 'b', 'a/'),
      max: fc.constantFrom(1, 2, 1000),
    }),
  },
);

describe.each([
  ['filesystem', openFilesystem, 40],
  ['distributed', openDistributed, 15],
] as const)('S3 on the %s backend, against a model of it', (_name, open, runs) => {
  let opened: OpenedBackend;
  let buckets = 0;
  beforeAll(async () => {
    opened = await open();
  });
  afterAll(() => opened.close());

  it('answers any sequence of requests as the model does', async () => {
    const { send } = createHarness({ backend: opened.backend });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 30 }), async (steps) => {
        const bucket = `model-${buckets++}`;
        const model = new ModelBucket();
        await opened.backend.createBucket({ bucket, owner: aliceOwner, region });
        const target = (name: string): string => `/${bucket}/${encoded(name)}`;
        for (const each of steps) {
          switch (each.do) {
            case 'put': {
              const answer = await send({ method: 'PUT', target: target(each.key), body: each.body });
              expect(answer.status).toBe(200);
              model.put(each.key, each.body);
              break;
            }
            case 'get': {
              const headers: Record<string, string> = each.range === undefined ? {} : { range: each.range };
              const answer = await send({ target: target(each.key), headers });
              const expected = model.get(each.key, each.range);
              expect([each, answer.status]).toEqual([each, expected.status]);
              const bytes = Buffer.from(await answer.arrayBuffer());
              if (expected.body !== undefined) expect(bytes.equals(expected.body)).toBe(true);
              break;
            }
            case 'delete':
              expect((await send({ method: 'DELETE', target: target(each.key) })).status).toBe(204);
              model.delete(each.key);
              break;
            case 'copy': {
              const headers = { 'x-amz-copy-source': `/${bucket}/${encoded(each.source)}` };
              const answer = await send({ method: 'PUT', target: target(each.key), headers });
              expect([each, answer.status]).toEqual([each, model.copy(each.source, each.key)]);
              break;
            }
            case 'list': {
              const found: string[] = [];
              let token: string | undefined;
              do {
                const query =
                  `list-type=2&encoding-type=url&prefix=${encoded(each.prefix)}&delimiter=${encoded(each.delimiter)}` +
                  `&max-keys=${each.max}${token === undefined ? '' : `&continuation-token=${encoded(token)}`}`;
                const xml = await (await send({ target: `/${bucket}?${query}` })).text();
                const prefixes = xml
                  .split('<CommonPrefixes>')
                  .slice(1)
                  .map((part) => textOf(part, 'Prefix') ?? '');
                const page = [...textsOf(xml, 'Key'), ...prefixes].map(decodeURIComponent);
                expect(page.length).toBeLessThanOrEqual(each.max);
                found.push(...page);
                token = textOf(xml, 'NextContinuationToken');
              } while (token !== undefined);
              expect([each, found.sort(ModelBucket.order)]).toEqual([each, model.list(each)]);
              break;
            }
          }
        }
      }),
      { numRuns: runs },
    );
  }, 300_000);
});

describe('garbage', () => {
  it('is refused, and never taken for a fault of the store', async () => {
    const s3 = createHarness();
    s3.backend.addBucket('b', { owner: aliceOwner });
    const documents = [
      ...[
        'acl',
        'cors',
        'delete',
        'encryption',
        'legal-hold',
        'lifecycle',
        'logging',
        'notification',
        'object-lock',
      ],
      ...[
        'ownershipControls',
        'policy',
        'publicAccessBlock',
        'requestPayment',
        'retention',
        'tagging',
        'versioning',
      ],
      'website',
    ];
    const text = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 60 }),
      fc
        .array(
          fc.constantFrom(
            ...'<CORSConfiguration>|</CORSConfiguration>|<CORSRule>|</CORSRule>|<AllowedOrigin>|</AllowedOrigin>|<WebsiteConfiguration>|</WebsiteConfiguration>|<IndexDocument/>|<Suffix>|</Suffix>|<Delete>|</Delete>|<Object>|</Object>|<Key>|</Key>|<!DOCTYPE a>|&a;|&#0;|&#xD800;|<![CDATA[|]]>|<?x?>|x|<__proto__>|</__proto__>|<a b="c">'.split(
              '|',
            ),
          ),
          { maxLength: 14 },
        )
        .map((pieces) => pieces.join('')),
    );
    const method = fc.constantFrom('PUT', 'POST', 'GET', 'DELETE', 'HEAD', 'OPTIONS', 'PATCH');
    const headerName = fc.constantFrom(
      ...[
        'range',
        'if-match',
        'if-none-match',
        'x-amz-copy-source',
        'x-amz-copy-source-range',
        'content-md5',
      ],
      ...[
        'x-amz-checksum-crc32',
        'x-amz-tagging',
        'x-amz-acl',
        'x-amz-storage-class',
        'origin',
        'content-encoding',
      ],
      ...[
        'access-control-request-method',
        'x-amz-decoded-content-length',
        'x-amz-object-attributes',
        'cookie',
      ],
    );
    const value = fc.stringMatching(/^[\x20-\x7e]{0,30}$/).map((each) => each.trim());
    const query = fc.oneof(
      fc.constantFrom(...documents),
      fc.constantFrom(
        'uploads',
        'uploadId=x',
        'partNumber=0&uploadId=x',
        'versionId=',
        'list-type=2&max-keys=-1',
        'attributes',
        '',
      ),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          method,
          query,
          body: text,
          headers: fc.dictionary(headerName, value, { maxKeys: 3 }),
          onKey: fc.boolean(),
        }),
        async (request) => {
          const target = `/b${request.onKey ? '/k' : ''}${request.query === '' ? '' : `?${request.query}`}`;
          const { method: verb, headers } = request;
          const withBody = verb === 'PUT' || verb === 'POST';
          const answer = await s3.send({
            method: verb,
            target,
            headers,
            ...(withBody ? { body: request.body } : {}),
          });
          await answer.arrayBuffer();
          expect([request, answer.status === 500]).toEqual([request, false]);
        },
      ),
      { numRuns: 400 },
    );
    expect(s3.log.filter(({ level }) => level === 'error')).toEqual([]);
  }, 300_000);
});
