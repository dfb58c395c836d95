import { randomBytes } from 'node:crypto';

import { encode } from 'cborg';
import { describe, expect, it } from 'vitest';

import { decodeLocator, encodeLocator, InvalidLocatorError } from './locator.ts';

const content = {
  sizeBytes: 5_000_000_000_000,
  data: 3,
  parity: 2,
  blockSizeBytes: 262_144,
  contentId: new Uint8Array(randomBytes(32)),
  layout: 7,
  placement: [4, 1, null, 3, 1000],
};

describe('a locator', () => {
  it('comes back as it was written', () => {
    expect(decodeLocator(encodeLocator(content))).toEqual(content);
  });

  it('stays under a kilobyte for the widest code', () => {
    const placement = Array.from({ length: 256 }, (_, i) => 200 + i);
    expect(encodeLocator({ ...content, data: 200, parity: 56, placement }).byteLength).toBeLessThan(1024);
  });

  it.each([
    ['no CBOR', Uint8Array.of(0xff)],
    ['no array', encode({})],
    ['an unknown version', encode([2, 0, 1, 1, 0, 1, new Uint8Array(32), 0, [0]])],
    ['an unknown stripe format', encode([1, 9, 1, 1, 0, 1, new Uint8Array(32), 0, [0]])],
    ['a field too few', encode([1, 0, 1, 1, 0, 1, new Uint8Array(32), 0])],
    ['a short content id', encode([1, 0, 1, 1, 0, 1, new Uint8Array(31), 0, [0]])],
    ['a negative size', encode([1, 0, -1, 1, 0, 1, new Uint8Array(32), 0, [0]])],
    ['an impossible code', encode([1, 0, 1, 200, 200, 1, new Uint8Array(32), 0, [0]])],
    ['a block size of 0', encode([1, 0, 1, 1, 0, 0, new Uint8Array(32), 0, [0]])],
    ['a placement of the wrong length', encode([1, 0, 1, 1, 1, 1, new Uint8Array(32), 0, [0]])],
    ['a node id that is none', encode([1, 0, 1, 1, 0, 1, new Uint8Array(32), 0, ['a']])],
  ])('is refused with %s', (_, bytes) => {
    expect(() => decodeLocator(bytes)).toThrow(InvalidLocatorError);
  });
});
