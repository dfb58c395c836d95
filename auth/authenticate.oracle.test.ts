/** What other implementations sign is verified, and nothing that differs from it in any part. */
import { S3Client, GetObjectCommand, ListObjectsV2Command, PutObjectCommand } from '@aws-sdk/client-s3';
import { SignatureV4 } from '@smithy/signature-v4';
import aws4 from 'aws4';
import fc from 'fast-check';
import { createHash, createHmac, type Hash, type Hmac } from 'node:crypto';
import { Readable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { authenticate } from './authenticate.ts';
import { AuthError } from './errors.ts';
import { decodePayload } from './payload.ts';
import type { SignedRequest } from './request.ts';
import { emptySha256 } from './signature.ts';
import {
  encodeStrictly,
  exampleCredential,
  exampleOptions,
  exampleTimeMs,
  onTheWire,
  requestOf,
} from './testing/requests.ts';

const host = 'bucket.s3.test:8443';
const runs = { numRuns: 300 };

/** Any text, and more often than by chance what tends to go wrong. */
const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 12 }),
  fc.string({
    unit: fc.constantFrom('a', '+', ' ', '%', '/', '.', '~', '&', '=', 'é', '€', '😀', '!', "'", '(', '*'),
    maxLength: 12,
  }),
);
/** The signers keep parameters in plain objects, where this one is no key like others. */
const parameterName = text.filter((name) => name !== '__proto__');
const key = fc.array(text, { maxLength: 5 }).map((parts) => parts.join('/'));
const headerValue = fc
  .string({ unit: fc.constantFrom('a', 'Z', '0', ' ', ' ', '\t', ',', ';', '"', 'é', '€'), maxLength: 20 })
  .map((value) => value.replace(/\t/g, ' '));
const metadata = fc.dictionary(fc.stringMatching(/^[a-z0-9-]{1,8}$/), headerValue, { maxKeys: 5 });

/** A hash of node:crypto as the SDK wants it. */
class Sha256 {
  readonly #hash: Hash | Hmac;
  constructor(secret?: unknown) {
    this.#hash = secret === undefined ? createHash('sha256') : createHmac('sha256', secret as Uint8Array);
  }
  update(data: Uint8Array): void {
    this.#hash.update(data);
  }
  async digest(): Promise<Uint8Array> {
    return this.#hash.digest();
  }
  reset(): void {
    throw new Error('not needed');
  }
}

const smithy = new SignatureV4({
  service: 's3',
  region: 'us-east-1',
  credentials: exampleCredential,
  sha256: Sha256,
  uriEscapePath: false,
});

type Query = Record<string, string | string[]>;

function encodeQuery(query: Query): string {
  return Object.entries(query)
    .flatMap(([name, values]) =>
      [values].flat().map((value) => `${encodeStrictly(name)}=${encodeStrictly(value)}`),
    )
    .join('&');
}

function wireHeaders(headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, onTheWire(value)]));
}

async function isSigned(request: SignedRequest): Promise<boolean> {
  return (await authenticate(request, exampleOptions)).kind === 'signed';
}

describe('@smithy/signature-v4', () => {
  const query = fc.dictionary(parameterName, fc.oneof(text, fc.array(text, { minLength: 1, maxLength: 3 })), {
    maxKeys: 5,
  });

  function unsigned(path: string, parameters: Query, headers: Record<string, string>) {
    return {
      method: 'PUT',
      protocol: 'https:',
      hostname: host,
      path,
      query: parameters,
      headers: { host, ...headers },
    };
  }

  test('signs headers', async () => {
    await fc.assert(
      fc.asyncProperty(key, query, metadata, async (name, parameters, values) => {
        const path = `/${name.split('/').map(encodeStrictly).join('/')}`;
        const headers = Object.fromEntries(Object.entries(values).map(([k, v]) => [`x-amz-meta-${k}`, v]));
        const signed = await smithy.sign(
          unsigned(path, parameters, { ...headers, 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' }),
          { signingDate: new Date(exampleTimeMs) },
        );
        const target = `${path}?${encodeQuery(parameters)}`;
        expect(await isSigned(requestOf('PUT', target, wireHeaders(signed.headers)))).toBe(true);
      }),
      runs,
    );
  });

  test('presigns', async () => {
    await fc.assert(
      fc.asyncProperty(key, query, metadata, async (name, parameters, values) => {
        const path = `/${name.split('/').map(encodeStrictly).join('/')}`;
        const headers = Object.fromEntries(Object.entries(values).map(([k, v]) => [`x-other-${k}`, v]));
        const signed = await smithy.presign(
          unsigned(path, parameters, { ...headers, 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' }),
          { signingDate: new Date(exampleTimeMs), expiresIn: 60 },
        );
        const target = `${path}?${encodeQuery(signed.query as Query)}`;
        expect(await isSigned(requestOf('PUT', target, wireHeaders(signed.headers)))).toBe(true);
      }),
      runs,
    );
  });
});

describe('aws4', () => {
  // It drops empty names and signs only the first of repeated ones for s3.
  const query = fc.dictionary(
    parameterName.filter((name) => name !== ''),
    text,
    { maxKeys: 5 },
  );

  test.each(['header', 'query'])('signs in the %s', async (form) => {
    await fc.assert(
      fc.asyncProperty(key, query, metadata, async (name, parameters, values) => {
        const path = `/${name.split('/').map(encodeStrictly).join('/')}`;
        const sent = encodeQuery(parameters);
        const headers = Object.fromEntries(Object.entries(values).map(([k, v]) => [`X-Amz-Meta-${k}`, v]));
        const signed = aws4.sign(
          {
            service: 's3',
            region: 'us-east-1',
            method: 'PUT',
            signQuery: form === 'query',
            path: `${path}?${sent}${form === 'query' ? '&X-Amz-Date=20130524T000000Z' : ''}`,
            headers: {
              Host: host,
              ...(form === 'header' ? { 'X-Amz-Date': '20130524T000000Z' } : {}),
              ...headers,
            },
          },
          exampleCredential,
        );
        const all = wireHeaders(signed.headers as Record<string, string>);
        expect(await isSigned(requestOf('PUT', signed.path ?? '', all))).toBe(true);
      }),
      runs,
    );
  });
});

test('aws4 signs for s3db', async () => {
  const segment = fc.oneof(fc.constantFrom('', '.', '..', 'v1', '00ff'), text.map(encodeStrictly));
  const query = fc.dictionary(
    parameterName.filter((name) => name !== ''),
    fc.oneof(text, fc.array(text, { minLength: 2, maxLength: 3 })),
    { maxKeys: 3 },
  );
  const body = fc.option(fc.string(), { nil: undefined });
  await fc.assert(
    fc.asyncProperty(
      fc.array(segment, { maxLength: 6 }),
      query,
      body,
      async (segments, parameters, value) => {
        const sent = encodeQuery(parameters);
        const target = `/${segments.join('/')}${sent === '' ? '' : `?${sent}`}`;
        const hex = createHash('sha256')
          .update(value ?? '')
          .digest('hex');
        const signed = aws4.sign(
          {
            service: 's3db',
            region: 'us-east-1',
            method: 'POST',
            path: target,
            headers: { Host: 'db-1', 'X-Amz-Date': '20130524T000000Z', 'X-Amz-Content-Sha256': hex },
            ...(value === undefined ? {} : { body: value }),
          },
          exampleCredential,
        );
        const request = requestOf('POST', signed.path ?? '', signed.headers as Record<string, string>);
        expect(await authenticate(request, { ...exampleOptions, service: 's3db' })).toMatchObject({
          kind: 'signed',
          payload: { kind: 'sha256', hex },
        });
      },
    ),
    runs,
  );
});

describe('the AWS SDK for JavaScript', () => {
  interface SdkRequest {
    readonly method: string;
    readonly path: string;
    readonly headers: Record<string, string>;
    readonly query?: Query;
    readonly body?: unknown;
  }

  /** Lets the SDK send a request, and takes it as Node would hand it over. */
  async function sent(
    send: (client: S3Client) => Promise<unknown>,
  ): Promise<{ request: SignedRequest; body: Buffer }> {
    let taken: { request: SignedRequest; body: Buffer } | undefined;
    const client = new S3Client({
      region: 'us-east-1',
      endpoint: 'https://127.0.0.1:8443',
      forcePathStyle: true,
      credentials: exampleCredential,
      systemClockOffset: exampleTimeMs - Date.now(),
      maxAttempts: 1,
      requestHandler: {
        async handle(request: SdkRequest) {
          const headers = wireHeaders(request.headers);
          const parts: Uint8Array[] = [];
          if (typeof request.body === 'string') parts.push(Buffer.from(request.body));
          else if (request.body instanceof Uint8Array) parts.push(request.body);
          else if (request.body !== undefined) {
            for await (const part of request.body as AsyncIterable<Uint8Array | string>)
              parts.push(Buffer.from(part));
          }
          const target = `${request.path}?${encodeQuery(request.query ?? {})}`;
          taken = { request: requestOf(request.method, target, headers), body: Buffer.concat(parts) };
          throw new Error('taken');
        },
      },
    });
    await expect(send(client)).rejects.toThrow('taken');
    return taken!;
  }

  // The SDK's clock can't be set to the second.
  const options = { ...exampleOptions, nowMs: exampleTimeMs };

  test('signs reads and listings', async () => {
    const names = fc.asyncProperty(
      key.filter((name) => name !== ''),
      async (name) => {
        const read = await sent((client) => client.send(new GetObjectCommand({ Bucket: 'b', Key: name })));
        expect((await authenticate(read.request, options)).kind).toBe('signed');
        const list = await sent((client) =>
          client.send(new ListObjectsV2Command({ Bucket: 'b', Prefix: name, Delimiter: '/' })),
        );
        expect((await authenticate(list.request, options)).kind).toBe('signed');
      },
    );
    await fc.assert(names, { numRuns: 30 });
  });

  test('signs uploads and frames their streams', async () => {
    async function* source() {
      for (let part = 0; part < 3; part += 1) yield Buffer.alloc(100_000, part);
    }
    const put = await sent((client) =>
      client.send(
        new PutObjectCommand({
          Bucket: 'b',
          Key: 'k+ é',
          Body: Readable.from(source()),
          ContentLength: 300_000,
        }),
      ),
    );
    const { payload } = await authenticate(put.request, options);
    expect(payload).toMatchObject({ kind: 'chunked', trailer: true, decodedSizeBytes: 300_000 });
    const decoded = decodePayload(
      (async function* () {
        yield put.body;
      })(),
      payload,
    );
    let sizeBytes = 0;
    for await (const part of decoded.stream) sizeBytes += part.length;
    expect(sizeBytes).toBe(300_000);
    expect([...decoded.trailers().keys()]).toEqual(['x-amz-checksum-crc32']);
  });
});

test('no change of a signed request goes unnoticed', async () => {
  const signed = aws4.sign(
    {
      service: 's3',
      region: 'us-east-1',
      method: 'GET',
      path: '/bucket/some/key?prefix=abc&versionId=1',
      headers: { Host: host, 'X-Amz-Date': '20130524T000000Z', Range: 'bytes=0-9', 'X-Amz-Meta-A': 'value' },
      extraHeadersToInclude: { range: true },
    } as aws4.Request,
    exampleCredential,
  );
  const request = requestOf('GET', signed.path ?? '', signed.headers as Record<string, string>);
  expect(await isSigned(request)).toBe(true);
  const inserted = fc.constantFrom('a', 'A', '/', '.', '0', '&', '=', '%', '%20', ';', '-', '~');
  const parts = ['method', 'rawPath', 'rawQuery', ...request.headers.keys()];
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...parts),
      fc.nat(300),
      fc.boolean(),
      inserted,
      async (part, place, replace, letter) => {
        const change = (value: string): string => {
          const at = place % (value.length + 1);
          return value.slice(0, at) + letter + value.slice(replace ? at + 1 : at);
        };
        const headers = new Map(request.headers);
        let changed: SignedRequest = { ...request, headers };
        const before =
          part === 'method' || part === 'rawPath' || part === 'rawQuery'
            ? request[part]
            : (headers.get(part)?.[0] ?? '');
        const after = change(before);
        fc.pre(after !== before);
        // These are the same to S3: an empty parameter, and blanks around the authorization's fields.
        fc.pre(part !== 'rawQuery' || !/^&|&&|&$/.test(after));
        if (headers.has(part)) headers.set(part, [after]);
        else changed = { ...changed, [part]: after };
        await expect(authenticate(changed, exampleOptions)).rejects.toBeInstanceOf(AuthError);
      },
    ),
    { numRuns: 3000 },
  );
});

test('garbage is refused with an AuthError or is anonymous, and never anything else', async () => {
  const piece = fc.oneof(
    text,
    fc.constantFrom(
      'AWS4-HMAC-SHA256 ',
      'Credential=A/20130524/us-east-1/s3/aws4_request',
      'SignedHeaders=host',
      'Signature=',
      ',',
      'X-Amz-Signature=a&',
      'X-Amz-Algorithm=AWS4-HMAC-SHA256&',
      'X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&',
      'X-Amz-Date=20130524T000000Z&',
      'X-Amz-Expires=5&',
      'X-Amz-SignedHeaders=host&',
      'UNSIGNED-PAYLOAD',
      'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
      emptySha256,
      'aws-chunked',
      '\ud800',
    ),
  );
  const soup = fc.array(piece, { maxLength: 8 }).map((parts) => parts.join(''));
  const name = fc.constantFrom(
    'authorization',
    'host',
    'date',
    'x-amz-date',
    'x-amz-content-sha256',
    'x-amz-decoded-content-length',
    'x-amz-trailer',
    'content-encoding',
    '__proto__',
    'constructor',
  );
  const headers = fc.array(fc.tuple(name, fc.array(soup, { maxLength: 2 })), { maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(
      soup,
      soup,
      soup,
      headers,
      fc.constantFrom('s3', 's3db'),
      async (method, rawPath, rawQuery, entries, service) => {
        const request = { method, rawPath, rawQuery, headers: new Map(entries) };
        const outcome: unknown = await authenticate(request, { ...exampleOptions, service }).catch(
          (e: unknown) => e,
        );
        if (outcome instanceof Error) expect(outcome).toBeInstanceOf(AuthError);
        else expect(outcome).toMatchObject({ kind: 'anonymous' });
      },
    ),
    { numRuns: 2000 },
  );
});

test('ten thousand parameters, headers or path segments take time in proportion', async () => {
  const many = Array.from({ length: 10_000 }, (_, i) => i);
  const signature = `AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=${[
    'host',
    'x-amz-content-sha256',
    'x-amz-date',
    ...many.map((i) => `x-amz-meta-${i}`),
  ].join(';')},Signature=${'0'.repeat(64)}`;
  const request = requestOf(
    'GET',
    `/${many.join('/../')}?${many.map((i) => `a${i % 7}=%4${i % 10}`).join('&')}`,
    {
      host,
      'x-amz-date': '20130524T000000Z',
      'x-amz-content-sha256': emptySha256,
      ...Object.fromEntries(many.map((i) => [`x-amz-meta-${i}`, ` ${' \t'.repeat(20)}x `])),
      authorization: signature,
    },
  );
  for (const service of ['s3', 's3db']) {
    const startMs = performance.now();
    const options = { ...exampleOptions, service };
    await expect(authenticate(request, options)).rejects.toBeInstanceOf(AuthError);
    await expect(
      authenticate(
        { ...request, headers: new Map([['authorization', [`AWS4-HMAC-SHA256 ${' ,='.repeat(100_000)}`]]]) },
        options,
      ),
    ).rejects.toBeInstanceOf(AuthError);
    expect(performance.now() - startMs).toBeLessThan(2000);
  }
});
