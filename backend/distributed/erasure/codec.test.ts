import { randomBytes } from 'node:crypto';

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { CodecFactory } from './codec_factory.ts';
import type { Codec } from './codec.ts';
import { CrateCodec } from './crate_codec.ts';
import { invert, multiply, power } from './galois.ts';
import { encodingMatrix, inverse, pickRows, product } from './matrix.ts';

const factory = await CodecFactory.open();

const lengths = [1, 2, 3, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 255, 1000, 1024, 4097];

function blocksOf(codec: Codec, length: number): Uint8Array[] {
  const data = Array.from({ length: codec.data }, () => randomBytes(length));
  const pieces = data.map((block) => [block]);
  return [...data, ...codec.encode(pieces, length)];
}

/** Every choice of `count` numbers below `total`. */
function* choices(total: number, count: number, from = 0): Generator<number[]> {
  if (count === 0) {
    yield [];
    return;
  }
  for (let first = from; first <= total - count; first += 1) {
    for (const rest of choices(total, count - 1, first + 1)) yield [first, ...rest];
  }
}

function expectRebuilt(codec: Codec, blocks: readonly Uint8Array[], lost: readonly number[]): void {
  const present = blocks.map((block, i) => (lost.includes(i) ? undefined : [block]));
  const lengthBytes = blocks[0]!.byteLength;
  const rebuilt = codec.reconstruct(present, { wanted: lost, lengthBytes });
  lost.forEach((index, j) => {
    if (Buffer.compare(rebuilt[j]!, blocks[index]!) !== 0)
      expect.fail(`block ${index} of loss ${lost.join()} differs`);
  });
}

describe('GF(2^8)', () => {
  it('has inverses and powers that agree with multiplication', () => {
    for (let a = 1; a < 256; a += 1) expect(multiply(a, invert(a))).toBe(1);
    expect(() => invert(0)).toThrow(RangeError);
    for (const a of [0, 1, 2, 29, 255]) {
      let product = 1;
      for (let n = 0; n < 600; n += 1) {
        expect(power(a, n)).toBe(product);
        product = multiply(product, a);
      }
    }
  });

  it('is the field of 0x11D', () => {
    expect(multiply(0x80, 2)).toBe(0x1d);
    fc.assert(
      fc.property(fc.nat(255), fc.nat(255), fc.nat(255), (a, b, c) => {
        expect(multiply(a, b ^ c)).toBe(multiply(a, b) ^ multiply(a, c));
        expect(multiply(a, multiply(b, c))).toBe(multiply(multiply(a, b), c));
      }),
    );
  });
});

describe('the encoding matrix', () => {
  it('starts with the identity, and its inverse undoes it', () => {
    const matrix = encodingMatrix(5, 4);
    for (let r = 0; r < 5; r += 1) {
      for (let c = 0; c < 5; c += 1) expect(matrix.cells[r * 5 + c]).toBe(r === c ? 1 : 0);
    }
    const some = pickRows(matrix, [8, 2, 6, 0, 5]);
    expect(product(some, inverse(some))).toEqual(pickRows(matrix, [0, 1, 2, 3, 4]));
  });

  it('refuses to invert a singular matrix', () => {
    expect(() => inverse(pickRows(encodingMatrix(2, 1), [1, 1]))).toThrow('singular');
  });
});

describe('CodecFactory', () => {
  it('runs the SIMD kernel here', () => {
    expect(factory.kind).toBe('kernel');
  });

  it.each([
    [0, 1],
    [1, -1],
    [255, 2],
    [1.5, 1],
    [3, 0.5],
  ])('refuses %d+%d', (data, parity) => {
    expect(() => factory.codec({ data, parity })).toThrow(RangeError);
  });
});

describe.each([
  [1, 0],
  [1, 1],
  [1, 2],
  [2, 1],
  [3, 2],
  [4, 4],
  [5, 3],
  [8, 4],
  [12, 4],
  [17, 3],
  [3, 9],
  [100, 28],
  [1, 255],
  [255, 1],
  [128, 128],
])('the kernel with RS(%d,%d)', (data, parity) => {
  const codec = factory.codec({ data, parity });
  const crate = CrateCodec.create({ data, parity });

  it('gives the bytes that the crate gives', () => {
    for (const length of data + parity > 100 ? [1, 33, 2100] : [...lengths, 150_001]) {
      const blocks = Array.from({ length: data }, () => [randomBytes(length)]);
      const ours = codec.encode(blocks, length);
      const theirs = crate.encode(blocks, length);
      expect(ours.length).toBe(parity);
      ours.forEach((block, i) => {
        if (Buffer.compare(block, theirs[i]!) !== 0) expect.fail(`parity ${i} of length ${length} differs`);
      });
    }
  });

  it('rebuilds random losses, as the crate does', () => {
    const blocks = blocksOf(codec, 77);
    for (let round = 0; round < 8; round += 1) {
      const lost = Array.from({ length: data + parity }, (_, i) => i)
        .sort(() => Math.random() - 0.5)
        .slice(0, round === 0 ? parity : Math.floor(Math.random() * (parity + 1)));
      expectRebuilt(codec, blocks, lost);
      expectRebuilt(crate, blocks, lost);
    }
  });

  it('verifies whole stripes and sees a flipped bit', () => {
    const blocks = blocksOf(codec, 100);
    expect(
      codec.verify(
        blocks.map((block) => [block]),
        100,
      ),
    ).toBe(true);
    expect(
      crate.verify(
        blocks.map((block) => [block]),
        100,
      ),
    ).toBe(true);
    if (parity === 0) return;
    blocks[Math.floor(Math.random() * blocks.length)]![Math.floor(Math.random() * 100)]! ^= 4;
    expect(
      codec.verify(
        blocks.map((block) => [block]),
        100,
      ),
    ).toBe(false);
    expect(
      crate.verify(
        blocks.map((block) => [block]),
        100,
      ),
    ).toBe(false);
  });
});

describe('small codes', () => {
  it('rebuild every loss of up to M blocks', () => {
    for (let data = 1; data <= 6; data += 1) {
      for (let parity = 0; parity <= 4; parity += 1) {
        const codec = factory.codec({ data, parity });
        const blocks = blocksOf(codec, 37);
        for (let count = 0; count <= parity; count += 1) {
          for (const lost of choices(data + parity, count)) expectRebuilt(codec, blocks, lost);
        }
      }
    }
  });

  it('refuse when too few blocks are there', () => {
    const codec = factory.codec({ data: 3, parity: 2 });
    const blocks = blocksOf(codec, 10).map((block, i) => (i < 3 ? undefined : [block]));
    expect(() => codec.reconstruct(blocks, { wanted: [0], lengthBytes: 10 })).toThrow(RangeError);
    expect(() =>
      CrateCodec.create({ data: 3, parity: 2 }).reconstruct(blocks, { wanted: [0], lengthBytes: 10 }),
    ).toThrow(RangeError);
  });
});

describe('blocks in pieces', () => {
  it('encode like whole ones, and short ones as if they ended in zeros', () => {
    fc.assert(
      fc.property(
        fc.record({
          data: fc.integer({ min: 1, max: 5 }),
          parity: fc.integer({ min: 1, max: 4 }),
          length: fc.integer({ min: 1, max: 300 }),
          cuts: fc.array(fc.nat(300), { maxLength: 6 }),
          short: fc.nat(300),
        }),
        ({ data, parity, length, cuts, short }) => {
          const whole = Array.from({ length: data }, () => randomBytes(length));
          const end = Math.max(0, length - short);
          whole[data - 1]!.fill(0, end);
          const marks = [0, ...cuts.filter((cut) => cut <= length).sort((a, b) => a - b), length];
          const cutUp = whole.map((block, i) =>
            marks.slice(1).map((to, j) => {
              const from = marks[j]!;
              return i === data - 1
                ? block.subarray(Math.min(from, end), Math.min(to, end))
                : block.subarray(from, to);
            }),
          );
          const expected = CrateCodec.create({ data, parity }).encode(
            whole.map((block) => [block]),
            length,
          );
          for (const codec of [factory.codec({ data, parity }), CrateCodec.create({ data, parity })]) {
            const parityBlocks = codec.encode(cutUp, length);
            expect(parityBlocks.map((block) => Buffer.from(block).toString('hex'))).toEqual(
              expected.map((block) => Buffer.from(block).toString('hex')),
            );
            expect(codec.verify([...cutUp, ...parityBlocks.map((block) => [block])], length)).toBe(true);
          }
        },
      ),
      { numRuns: 100 },
    );
  });
});
