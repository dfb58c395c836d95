import { randomBytes } from 'node:crypto';

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import type { Pieces } from './erasure/codec.ts';
import {
  blockLength,
  chooseBlockSize,
  shardLength,
  StripeCutter,
  stripeBytes,
  stripeCount,
  stripePart,
} from './stripes.ts';
import type { Stripe } from './stripes.ts';

function padded(block: Pieces, length: number): Buffer {
  return Buffer.concat([...block, Buffer.alloc(length)], length);
}

const geometries = fc.record({
  sizeBytes: fc.integer({ min: 1, max: 2000 }),
  data: fc.integer({ min: 1, max: 6 }),
  parity: fc.constant(2),
  blockSizeBytes: fc.integer({ min: 1, max: 64 }),
});

describe('StripeCutter', () => {
  it('cuts any chunks into the blocks of the format', () => {
    fc.assert(
      fc.property(geometries, fc.array(fc.integer({ min: 0, max: 200 })), (geometry, cuts) => {
        const content = randomBytes(geometry.sizeBytes);
        const cutter = new StripeCutter(geometry);
        const stripes: Stripe[] = [];
        let at = 0;
        for (const cut of [...cuts, geometry.sizeBytes]) {
          stripes.push(...cutter.push(content.subarray(at, at + cut)));
          at = Math.min(at + cut, geometry.sizeBytes);
        }
        const last = cutter.finish();
        if (last !== undefined) stripes.push(last);
        expect(stripes.length).toBe(stripeCount(geometry));
        stripes.forEach((stripe, i) => {
          const start = i * stripeBytes(geometry);
          expect(stripe.number).toBe(i);
          expect(stripe.blockBytes).toBe(blockLength(geometry, i));
          expect(stripe.contentBytes).toBe(Math.min(stripeBytes(geometry), geometry.sizeBytes - start));
          const bytes = Buffer.concat(stripe.blocks.map((block) => padded(block, stripe.blockBytes)));
          expect(bytes.subarray(0, stripe.contentBytes)).toEqual(
            content.subarray(start, start + stripe.contentBytes),
          );
          expect(bytes.subarray(stripe.contentBytes).every((byte) => byte === 0)).toBe(true);
        });
        expect(stripes.reduce((sum, stripe) => sum + stripe.blockBytes, 0)).toBe(shardLength(geometry));
      }),
    );
  });

  it('takes single bytes, more than were announced, and buffers that are used again', () => {
    const cutter = new StripeCutter({ data: 2, blockSizeBytes: 100_000, sizeBytes: 10 });
    const reused = Buffer.alloc(1);
    for (let i = 0; i < 199_999; i += 1) {
      reused[0] = i & 255;
      expect([...cutter.push(reused)]).toEqual([]);
    }
    const [stripe] = [...cutter.push(Buffer.of(199_999 & 255))];
    expect(stripe!.blocks.map((block) => block.length)).toEqual([1, 1]);
    expect(Buffer.concat(stripe!.blocks.flat()).every((byte, i) => byte === (i & 255))).toBe(true);
    expect(cutter.finish()).toBeUndefined();
  });

  it('allocates no more than small content needs', () => {
    const cutter = new StripeCutter({ data: 3, blockSizeBytes: 262_144, sizeBytes: 5 });
    expect([...cutter.push(Buffer.from('abcde'))]).toEqual([]);
    expect(cutter.finish()!.blocks[0]![0]!.buffer.byteLength).toBe(5);
  });
});

describe('stripePart', () => {
  it('covers the range, touches no block needlessly, and cuts every block alike', () => {
    fc.assert(
      fc.property(geometries, fc.nat(), fc.nat(), (geometry, a, b) => {
        const offset = a % geometry.sizeBytes;
        const lengthBytes = 1 + (b % (geometry.sizeBytes - offset));
        const first = Math.floor(offset / stripeBytes(geometry));
        const last = Math.floor((offset + lengthBytes - 1) / stripeBytes(geometry));
        let covered = 0;
        for (let stripe = first; stripe <= last; stripe += 1) {
          const part = stripePart(geometry, { stripe, offset, lengthBytes });
          covered += part.to - part.from;
          expect(part.low).toBeGreaterThanOrEqual(0);
          expect(part.high).toBeLessThanOrEqual(part.blockBytes);
          expect(part.firstBlock).toBe(Math.floor(part.from / part.blockBytes));
          expect(part.lastBlock).toBe(Math.floor((part.to - 1) / part.blockBytes));
          for (let byte = part.from; byte < part.to; byte += 1) {
            const column = byte % part.blockBytes;
            if (column < part.low || column >= part.high) expect.fail(`column ${column} is not covered`);
          }
          // A shard's cuts of neighbouring stripes join into one range of the shard.
          if (stripe > first) expect(part.low).toBe(0);
          if (stripe < last) expect(part.high).toBe(part.blockBytes);
        }
        expect(covered).toBe(lengthBytes);
      }),
    );
  });
});

describe('chooseBlockSize', () => {
  it('takes bigger blocks for big content and bounds the stripe', () => {
    expect(chooseBlockSize(3, undefined)).toBe(256 << 10);
    expect(chooseBlockSize(3, 1 << 20)).toBe(256 << 10);
    expect(chooseBlockSize(3, 1 << 30)).toBe(512 << 10);
    for (const data of [1, 12, 33, 100, 255]) {
      expect(data * chooseBlockSize(data, 1 << 30)).toBeLessThanOrEqual(8 << 20);
      expect(chooseBlockSize(data, 1 << 30) % 4096).toBe(0);
    }
  });
});
