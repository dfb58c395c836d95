/** The streaming decoder against one that has the whole body in hand and reads it by the grammar. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AuthError } from './errors.ts';
import { decodePayload } from './payload.ts';
import type { PayloadCheck } from './request.ts';
import { deriveSigningKey, sha256Hex, signHex } from './signature.ts';

const signing = {
  signingKey: deriveSigningKey('secret', { date: '20130524', region: 'us-east-1', service: 's3' }),
  timestamp: '20130524T000000Z',
  scope: '20130524/us-east-1/s3/aws4_request',
  seedSignature: 'a'.repeat(64),
};

interface Outcome {
  readonly payload: string;
  readonly trailers: Readonly<Record<string, string>>;
}

function sign(kind: 'PAYLOAD' | 'TRAILER', previous: string, text: string): string {
  const hashes =
    kind === 'PAYLOAD' ? `${sha256Hex('')}\n${sha256Hex(Buffer.from(text, 'latin1'))}` : sha256Hex(text);
  return signHex(
    signing.signingKey,
    [`AWS4-HMAC-SHA256-${kind}`, signing.timestamp, signing.scope, previous, hashes].join('\n'),
  );
}

/** Reads a body in one go. Undefined if it is wrong in any way. */
function decodeAtOnce(body: string, check: PayloadCheck & { kind: 'chunked' }): Outcome | undefined {
  const isSigned = check.signing !== undefined;
  let previous = check.signing?.seedSignature ?? '';
  let rest = body;
  let payload = '';
  for (;;) {
    const header = (
      isSigned ? /^([0-9a-fA-F]+);chunk-signature=([0-9a-f]{64})\r\n/ : /^([0-9a-fA-F]+)(?:;[^\n]*)?\r\n/
    ).exec(rest);
    if (header === null) return undefined;
    const size = Number.parseInt(header[1] ?? '', 16);
    const data = rest.slice(header[0].length, header[0].length + size);
    if (data.length !== size) return undefined;
    if (isSigned) {
      previous = sign('PAYLOAD', previous, data);
      if (previous !== header[2]) return undefined;
    }
    rest = rest.slice(header[0].length + size);
    if (size === 0) break;
    if (!rest.startsWith('\r\n')) return undefined;
    rest = rest.slice(2);
    payload += data;
  }
  const lines = rest.split('\n');
  if (lines.pop() !== '') return undefined;
  const trailers: Record<string, string> = {};
  let canonical = '';
  let signature: string | undefined;
  let blanks = 0;
  const names = new Set(check.trailer ? check.trailerNames : []);
  const isComplete = () => names.size === 0 && (signature !== undefined || !isSigned || !check.trailer);
  while (lines.length > 0) {
    const raw = lines.shift() ?? '';
    const line = raw.replace(/\r$/, '');
    if (line === '') {
      if (isComplete()) {
        const isEnd = lines.length === 0 || (lines.length === 1 && lines[0] === '\r');
        return isEnd ? { payload, trailers } : undefined;
      }
      blanks += 1;
      if (blanks > 1) return undefined;
      continue;
    }
    const match = /^([\w!#$%&'*+.^`|~-]+):([\t -~]*)$/.exec(line);
    if (match === null) return undefined;
    const name = (match[1] ?? '').toLowerCase();
    const value = (match[2] ?? '').replace(/^[ \t]+|[ \t]+$/g, '');
    if (name === 'x-amz-trailer-signature' && isSigned && check.trailer && signature === undefined) {
      signature = sign('TRAILER', previous, canonical);
      if (names.size > 0 || value !== signature) return undefined;
      continue;
    }
    if (!names.delete(name)) return undefined;
    trailers[name] = value;
    canonical += `${name}:${value}\n`;
  }
  return undefined;
}

/** Decodes a body that arrives cut at the given places. */
async function decodeInPieces(
  body: Buffer,
  check: PayloadCheck,
  cuts: readonly number[],
): Promise<Outcome | undefined> {
  async function* source() {
    let from = 0;
    for (const cut of [...cuts.map((at) => at % (body.length + 1)).sort((a, b) => a - b), body.length]) {
      yield body.subarray(from, cut);
      from = cut;
    }
  }
  const decoded = decodePayload(source(), check);
  const parts: Uint8Array[] = [];
  try {
    for await (const part of decoded.stream) parts.push(part);
  } catch (error) {
    expect(error).toBeInstanceOf(AuthError);
    return undefined;
  }
  return {
    payload: Buffer.concat(parts).toString('latin1'),
    trailers: Object.fromEntries(decoded.trailers()),
  };
}

const chunks = fc.array(
  fc.string({ unit: fc.constantFrom('a', '\r', '\n', '0', ';', ':', '\u00ff'), minLength: 1, maxLength: 20 }),
  {
    maxLength: 6,
  },
);
const cuts = fc.array(fc.nat(2000), { maxLength: 12 });
const trailerValues = fc.array(fc.stringMatching(/^[A-Za-z0-9+/= ]{0,10}$/), { maxLength: 2 });

interface Body {
  readonly body: string;
  readonly check: PayloadCheck & { kind: 'chunked' };
}

const validBody: fc.Arbitrary<Body> = fc
  .record({
    chunks,
    values: trailerValues,
    isSigned: fc.boolean(),
    hasTrailer: fc.boolean(),
    minio: fc.boolean(),
  })
  .map(({ chunks: data, values, isSigned, hasTrailer, minio }) => {
    let previous = signing.seedSignature;
    const header = (text: string): string => {
      if (!isSigned) return text.length.toString(16);
      previous = sign('PAYLOAD', previous, text);
      return `${text.length.toString(16)};chunk-signature=${previous}`;
    };
    let body = data.map((text) => `${header(text)}\r\n${text}\r\n`).join('') + `${header('')}\r\n`;
    const trailerNames = hasTrailer ? values.map((_, at) => `x-amz-checksum-${at}`) : [];
    const lineEnd = minio ? '\n' : '\r\n';
    let canonical = '';
    for (const [at, name] of trailerNames.entries()) {
      body += `${name}:${values[at] ?? ''}${lineEnd}`;
      canonical += `${name}:${(values[at] ?? '').trim()}\n`;
    }
    if (hasTrailer && isSigned) {
      body += `${minio ? '\r\n' : ''}x-amz-trailer-signature:${sign('TRAILER', previous, canonical)}\r\n`;
    }
    body += minio && !isSigned ? '\r\n\r\n' : '\r\n';
    return {
      body,
      check: { kind: 'chunked', trailer: hasTrailer, trailerNames, ...(isSigned ? { signing } : {}) },
    };
  });

describe('the decoder agrees with one that has the whole body in hand', () => {
  test('on valid bodies, however they are cut', async () => {
    await fc.assert(
      fc.asyncProperty(validBody, cuts, async ({ body, check }, at) => {
        const expected = decodeAtOnce(body, check);
        expect(expected).toBeDefined();
        expect(await decodeInPieces(Buffer.from(body, 'latin1'), check, at)).toEqual(expected);
      }),
      { numRuns: 1000 },
    );
  });

  test('on bodies with something changed', async () => {
    const piece = fc.constantFrom(
      '',
      'a',
      '0',
      '1',
      'f',
      '\r',
      '\n',
      '\r\n',
      ';',
      ':',
      '\0',
      ' ',
      '-',
      '\u00ff',
      'x-amz-checksum-0:a\r\n',
      '0\r\n\r\n',
    );
    const change = fc.record({ place: fc.nat(2000), removed: fc.nat(3), piece });
    let accepted = 0;
    await fc.assert(
      fc.asyncProperty(
        validBody,
        fc.array(change, { minLength: 1, maxLength: 3 }),
        cuts,
        async ({ body, check }, changes, at) => {
          let changed = body;
          for (const { place, removed, piece: inserted } of changes) {
            const from = place % (changed.length + 1);
            changed = changed.slice(0, from) + inserted + changed.slice(from + removed);
          }
          const expected = decodeAtOnce(changed, check);
          if (expected !== undefined) accepted += 1;
          expect(await decodeInPieces(Buffer.from(changed, 'latin1'), check, at)).toEqual(expected);
        },
      ),
      { numRuns: 5000 },
    );
    expect(accepted).toBeGreaterThan(0);
  });

  test('on mere bytes', async () => {
    const letters = fc.constantFrom(
      '0',
      '1',
      'a',
      '\r\n',
      '\r\n',
      '\n',
      ':',
      ';',
      'x-amz-checksum-0',
      'Z',
      '\u0080',
    );
    const check: PayloadCheck & { kind: 'chunked' } = {
      kind: 'chunked',
      trailer: true,
      trailerNames: ['x-amz-checksum-0'],
    };
    await fc.assert(
      fc.asyncProperty(fc.array(letters, { maxLength: 20 }), cuts, async (parts, at) => {
        const body = parts.join('');
        expect(await decodeInPieces(Buffer.from(body, 'latin1'), check, at)).toEqual(
          decodeAtOnce(body, check),
        );
      }),
      { numRuns: 5000 },
    );
  });
});

test('a payload in a million pieces takes time in proportion', async () => {
  const chunk = Buffer.from('1\r\na\r\n');
  async function* source() {
    for (let i = 0; i < 200_000; i += 1)
      for (let at = 0; at < 5; at += 1) yield chunk.subarray(at, at === 4 ? 6 : at + 1);
    yield Buffer.from('0\r\n\r\n');
  }
  const startMs = performance.now();
  let sizeBytes = 0;
  for await (const part of decodePayload(source(), { kind: 'chunked', trailer: false }).stream)
    sizeBytes += part.length;
  expect(sizeBytes).toBe(200_000);
  expect(performance.now() - startMs).toBeLessThan(10_000);
});
