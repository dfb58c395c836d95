import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { AuthError, type AuthErrorCode } from './errors.ts';
import { decodePayload, type PayloadLimits } from './payload.ts';
import type { ChunkSigning, PayloadCheck } from './request.ts';
import { deriveSigningKey, sha256Hex, signHex } from './signature.ts';
import { exampleCredential } from './testing/requests.ts';

async function* pieces(...texts: (string | Uint8Array)[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield typeof text === 'string' ? Buffer.from(text, 'latin1') : text;
}

async function collect(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}

async function decode(body: string | Uint8Array, check: PayloadCheck, limits?: PayloadLimits) {
  const decoded = decodePayload(pieces(body), check, limits);
  const payload = await collect(decoded.stream);
  return { payload, trailers: Object.fromEntries(decoded.trailers()) };
}

async function expectRefusal(
  body: string | Uint8Array,
  check: PayloadCheck,
  options: { code: AuthErrorCode; limits?: PayloadLimits },
): Promise<void> {
  const outcome: unknown = await decode(body, check, options.limits).catch((error: unknown) => error);
  expect(outcome).toBeInstanceOf(AuthError);
  expect((outcome as AuthError).code).toBe(options.code);
}

const unsignedTrailer: PayloadCheck = {
  kind: 'chunked',
  trailer: true,
  trailerNames: ['x-amz-checksum-crc32'],
};

const signing: ChunkSigning = {
  signingKey: deriveSigningKey(exampleCredential.secretAccessKey, {
    date: '20130524',
    region: 'us-east-1',
    service: 's3',
  }),
  timestamp: '20130524T000000Z',
  scope: '20130524/us-east-1/s3/aws4_request',
  seedSignature: '4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9',
};
const signed: PayloadCheck = { kind: 'chunked', trailer: false, signing };
const signedTrailer: PayloadCheck = {
  kind: 'chunked',
  trailer: true,
  trailerNames: ['x-amz-checksum-crc32c'],
  signing: { ...signing, seedSignature: '106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e' },
};

/** The body of the S3 API reference's examples: 65 KiB of `a` in chunks of 64 KiB and 1 KiB. */
function exampleBody(signatures: readonly [string, string, string], end: string): string {
  const [first, second, last] = signatures;
  return (
    `10000;chunk-signature=${first}\r\n${'a'.repeat(65536)}\r\n` +
    `400;chunk-signature=${second}\r\n${'a'.repeat(1024)}\r\n` +
    `0;chunk-signature=${last}\r\n${end}`
  );
}

const signedExample = exampleBody(
  [
    'ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648',
    '0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497',
    'b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9',
  ],
  '\r\n',
);
const trailerSignature = 'd81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435';
const emptyTrailerSignature = signHex(
  signing.signingKey,
  [
    'AWS4-HMAC-SHA256-TRAILER',
    signing.timestamp,
    signing.scope,
    '2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992',
    sha256Hex(''),
  ].join('\n'),
);
const trailerExample = exampleBody(
  [
    'b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2',
    '1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7',
    '2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992',
  ],
  `x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:${trailerSignature}\r\n\r\n`,
);

describe('whole payloads', () => {
  test('unsigned ones pass as they are', async () => {
    expect(await decode('hello', { kind: 'unsigned' })).toEqual({
      payload: Buffer.from('hello'),
      trailers: {},
    });
  });

  test('pass without being copied', async () => {
    const piece = Buffer.from('hello');
    const { stream } = decodePayload(pieces(piece), { kind: 'unsigned' });
    for await (const part of stream) expect(part.buffer).toBe(piece.buffer);
  });

  test('signed ones must have the hash that was signed', async () => {
    const hex = createHash('sha256').update('hello').digest('hex');
    expect((await decode('hello', { kind: 'sha256', hex })).payload.toString()).toBe('hello');
    await expectRefusal('hellO', { kind: 'sha256', hex }, { code: 'XAmzContentSHA256Mismatch' });
    await expectRefusal('', { kind: 'sha256', hex }, { code: 'XAmzContentSHA256Mismatch' });
  });

  test('must have the announced size', async () => {
    const check: PayloadCheck = { kind: 'unsigned' };
    expect((await decode('hello', check, { sizeBytes: 5 })).payload.length).toBe(5);
    await expectRefusal('hello', check, { code: 'IncompleteBody', limits: { sizeBytes: 4 } });
    await expectRefusal('hello', check, { code: 'IncompleteBody', limits: { sizeBytes: 6 } });
  });

  test('that are too long are refused before they end', async () => {
    let given = 0;
    async function* long() {
      for (; given < 1000; given += 1) yield Buffer.alloc(1024);
    }
    const { stream } = decodePayload(long(), { kind: 'unsigned' }, { sizeBytes: 10_000 });
    await expect(collect(stream)).rejects.toMatchObject({ code: 'IncompleteBody' });
    expect(given).toBe(9);
  });

  test.each<PayloadCheck>([{ kind: 'unsigned' }, { kind: 'sha256', hex: '' }, unsignedTrailer])(
    'a reader that stops early ends the source: $kind',
    async (check) => {
      let closed = false;
      async function* source() {
        try {
          for (let given = 0; given < 1000; given += 1) yield Buffer.from('1\r\na\r\n');
        } finally {
          closed = true;
        }
      }
      for await (const _ of decodePayload(source(), check).stream) break;
      expect(closed).toBe(true);
    },
  );

  test('an error of the source passes through', async () => {
    const lost = new Error('connection lost');
    async function* source() {
      yield Buffer.from('5\r\nhel');
      throw lost;
    }
    await expect(collect(decodePayload(source(), unsignedTrailer).stream)).rejects.toBe(lost);
  });
});

describe('the examples of the S3 API reference', () => {
  test('have the lengths it says', () => {
    expect(signedExample.length).toBe(66_824);
    expect(trailerExample.length).toBe(66_946);
  });

  test('signed chunks', async () => {
    const { payload, trailers } = await decode(signedExample, { ...signed, decodedSizeBytes: 66_560 });
    expect(payload.equals(Buffer.alloc(66_560, 'a'))).toBe(true);
    expect(trailers).toEqual({});
  });

  test('signed chunks with a trailer', async () => {
    const { payload, trailers } = await decode(trailerExample, signedTrailer);
    expect(payload.length).toBe(66_560);
    expect(trailers).toEqual({ 'x-amz-checksum-crc32c': 'sOO8/Q==' });
  });

  test('signed chunks with a trailer as minio-go frames it', async () => {
    const framed = trailerExample.replace('sOO8/Q==\r\n', 'sOO8/Q==\n\r\n');
    expect((await decode(framed, signedTrailer)).trailers).toEqual({ 'x-amz-checksum-crc32c': 'sOO8/Q==' });
  });

  test('arriving byte by byte', async () => {
    const body = Buffer.from(trailerExample, 'latin1');
    async function* bytes() {
      for (let at = 0; at < body.length; at += 1) yield body.subarray(at, at + 1);
    }
    const decoded = decodePayload(bytes(), signedTrailer);
    expect((await collect(decoded.stream)).length).toBe(66_560);
    expect(decoded.trailers().size).toBe(1);
  });

  test('are refused if any byte differs', async () => {
    for (const [body, check] of [
      [signedExample, signed],
      [trailerExample, signedTrailer],
    ] as const) {
      const bytes = Buffer.from(body, 'latin1');
      const positions = [0, 3, 10, 40, 85, 86, 87, 90, 1000, 65_623, 65_624, 65_625, 65_630, 66_700];
      for (let at = 66_730; at < bytes.length; at += 1) positions.push(at);
      for (const at of positions) {
        const changed = Buffer.from(bytes);
        changed[at] = (changed[at] ?? 0) ^ 1;
        await expect(decode(changed, check), `byte ${at}`).rejects.toBeInstanceOf(AuthError);
      }
    }
  });

  test('are refused if cut off anywhere', async () => {
    for (const [body, check] of [
      [signedExample, signed],
      [trailerExample, signedTrailer],
    ] as const) {
      for (const length of [0, 1, 50, 87, 88, 65_000, 65_626, 66_000, 66_738]) {
        await expectRefusal(body.slice(0, length), check, { code: 'IncompleteBody' });
      }
      for (let length = 66_739; length < body.length; length += 1) {
        await expectRefusal(body.slice(0, length), check, { code: 'IncompleteBody' });
      }
    }
  });

  test('are refused without their signatures', async () => {
    const bare = signedExample.replace(/;chunk-signature=[0-9a-f]{64}/g, '');
    await expectRefusal(bare, signed, { code: 'SignatureDoesNotMatch' });
    const noTrailerSignature = trailerExample.replace(/x-amz-trailer-signature:.*\r\n/, '');
    await expectRefusal(`${noTrailerSignature}\r\n`, signedTrailer, { code: 'MalformedTrailerError' });
    const first = trailerExample.replace(
      /(x-amz-checksum.*\r\n)(x-amz-trailer-signature:).*\r\n/,
      (_, trailer: string, name: string) => `${name}${emptyTrailerSignature}\r\n${trailer}`,
    );
    await expectRefusal(first, signedTrailer, { code: 'MalformedTrailerError' });
    const other = trailerExample.replace('sOO8', 'sOO9');
    await expectRefusal(other, signedTrailer, { code: 'SignatureDoesNotMatch' });
  });

  test('are refused if chunks are reordered, repeated or left out', async () => {
    const data = ['one', 'two', 'three', ''];
    let previous = signing.seedSignature;
    const chunks = data.map((text) => {
      const hashes = `${sha256Hex('')}\n${sha256Hex(text)}`;
      previous = signHex(
        signing.signingKey,
        ['AWS4-HMAC-SHA256-PAYLOAD', signing.timestamp, signing.scope, previous, hashes].join('\n'),
      );
      return `${text.length.toString(16)};chunk-signature=${previous}\r\n${text}\r\n`;
    });
    const [one = '', two = '', three = '', end = ''] = chunks;
    expect((await decode(one + two + three + end, signed)).payload.toString()).toBe('onetwothree');
    for (const body of [
      two + one + three + end,
      one + one + two + three + end,
      one + three + end,
      one + two + end,
    ]) {
      await expectRefusal(body, signed, { code: 'SignatureDoesNotMatch' });
    }
  });
});

describe('unsigned chunks with a trailer', () => {
  test.each([
    ['as botocore frames them', '5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n'],
    ['as minio-go frames them', '5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\n\r\n\r\n'],
    ['with spaces and capitals', '5\r\nhello\r\n0\r\nX-Amz-Checksum-CRC32: NhCmhg== \r\n\r\n'],
    [
      'with extensions and leading zeros',
      '0005;a=b\r\nhello\r\n000;c\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n',
    ],
    ['in several chunks', '1\r\nh\r\n4\r\nello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n'],
  ])('%s', async (_, body) => {
    expect(await decode(body, unsignedTrailer)).toEqual({
      payload: Buffer.from('hello'),
      trailers: { 'x-amz-checksum-crc32': 'NhCmhg==' },
    });
  });

  test('may be empty', async () => {
    const { payload } = await decode('0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n', unsignedTrailer);
    expect(payload.length).toBe(0);
    expect(await decode('0\r\n\r\n', { kind: 'chunked', trailer: false })).toEqual({
      payload: Buffer.alloc(0),
      trailers: {},
    });
  });

  const trailer = 'x-amz-checksum-crc32:NhCmhg==\r\n';
  test.each<[string, string, AuthErrorCode]>([
    ['nothing at all', '', 'IncompleteBody'],
    ['plain bytes', 'hello', 'IncompleteBody'],
    ['a plain line', 'hello\r\n', 'InvalidChunkSizeError'],
    ['a negative size', '-5\r\nhello\r\n', 'InvalidChunkSizeError'],
    ['a size with a prefix', '0x5\r\nhello\r\n', 'InvalidChunkSizeError'],
    ['a size with a space', ' 5\r\nhello\r\n', 'InvalidChunkSizeError'],
    ['no size', '\r\nhello\r\n', 'InvalidChunkSizeError'],
    ['an immense size', `${'f'.repeat(14)}\r\nhello\r\n`, 'InvalidChunkSizeError'],
    ['a header without end', `5;${'x'.repeat(2000)}`, 'InvalidChunkSizeError'],
    ['a header that ends in LF', '5\nhello\r\n', 'InvalidChunkSizeError'],
    ['a chunk that is too long', `4\r\nhello\r\n0\r\n${trailer}\r\n`, 'IncompleteBody'],
    ['a chunk that is too short', `6\r\nhello\r\n0\r\n${trailer}\r\n`, 'IncompleteBody'],
    ['a chunk that ends in LF', `5\r\nhello\n0\r\n${trailer}\r\n`, 'IncompleteBody'],
    ['no last chunk', '5\r\nhello\r\n', 'IncompleteBody'],
    ['no end of the trailers', `5\r\nhello\r\n0\r\n${trailer}`, 'IncompleteBody'],
    ['no trailer', '5\r\nhello\r\n0\r\n\r\n\r\n', 'MalformedTrailerError'],
    ['no trailer and no more', '5\r\nhello\r\n0\r\n\r\n', 'MalformedTrailerError'],
    ['another trailer', '5\r\nhello\r\n0\r\nx-amz-checksum-sha1:a\r\n\r\n', 'MalformedTrailerError'],
    [
      'one more trailer',
      `5\r\nhello\r\n0\r\n${trailer}x-amz-acl:public-read\r\n\r\n`,
      'MalformedTrailerError',
    ],
    ['a trailer twice', `5\r\nhello\r\n0\r\n${trailer}${trailer}\r\n`, 'MalformedTrailerError'],
    [
      'a signature nobody asked for',
      `5\r\nhello\r\n0\r\n${trailer}x-amz-trailer-signature:a\r\n\r\n`,
      'MalformedTrailerError',
    ],
    ['a trailer without colon', '5\r\nhello\r\n0\r\nx-amz-checksum-crc32\r\n\r\n', 'MalformedTrailerError'],
    ['a trailer without name', '5\r\nhello\r\n0\r\n:a\r\n\r\n', 'MalformedTrailerError'],
    ['an endless trailer', `0\r\nx-amz-checksum-crc32:${'a'.repeat(9000)}`, 'MalformedTrailerError'],
    ['bytes after the end', `5\r\nhello\r\n0\r\n${trailer}\r\nmore`, 'InvalidRequest'],
    ['bytes after the last line end', `5\r\nhello\r\n0\r\n${trailer}\r\n\r\nmore`, 'InvalidRequest'],
    ['three line ends', `5\r\nhello\r\n0\r\n${trailer}\r\n\r\n\r\n`, 'InvalidRequest'],
    ['a lone CR after the end', `5\r\nhello\r\n0\r\n${trailer}\r\n\r`, 'IncompleteBody'],
  ])('are refused with %s', async (_, body, code) => {
    await expectRefusal(body, unsignedTrailer, { code });
  });

  test('must decode to the announced size', async () => {
    const body = `5\r\nhello\r\n0\r\n${trailer}\r\n`;
    expect((await decode(body, { ...unsignedTrailer, decodedSizeBytes: 5 })).payload.length).toBe(5);
    for (const decodedSizeBytes of [0, 4, 6]) {
      await expectRefusal(body, { ...unsignedTrailer, decodedSizeBytes }, { code: 'IncompleteBody' });
    }
    await expectRefusal(
      body,
      { ...unsignedTrailer, decodedSizeBytes: 5 },
      {
        code: 'IncompleteBody',
        limits: { sizeBytes: 4 },
      },
    );
  });

  test('have trailers only once they have ended', async () => {
    const decoded = decodePayload(pieces(`5\r\nhello\r\n0\r\n${trailer}\r\n`), unsignedTrailer);
    expect(() => decoded.trailers()).toThrow(/ended/);
    await collect(decoded.stream);
    expect(decoded.trailers().get('x-amz-checksum-crc32')).toBe('NhCmhg==');
  });

  test('pass through as views of the input', async () => {
    const piece = Buffer.from(`5\r\nhello\r\n0\r\n${trailer}\r\n`);
    for await (const part of decodePayload(pieces(piece), unsignedTrailer).stream) {
      expect(part.buffer).toBe(piece.buffer);
    }
  });
});
