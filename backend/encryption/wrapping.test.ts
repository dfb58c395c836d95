import { describe, expect, it } from 'vitest';
import { checkOfCustomerKey, isCustomerKey } from './customer_key.ts';
import { SealDamagedError } from './errors.ts';
import { FrameCipher } from './frame_cipher.ts';
import { fingerprintOf, unwrapDataKey, wrapDataKey } from './wrapping.ts';

const master = new Uint8Array(32).fill(1);
const dataKey = new Uint8Array(32).fill(2);
const contentId = new Uint8Array(32).fill(3);
const nonce = new Uint8Array(12).fill(4);
const purpose = { contentId, context: new Uint8Array(0) };

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

describe('wrapping a data key', () => {
  // Computed by Python's hmac and cryptography from FORMAT.md: what is on disks must stay readable.
  it('gives the bytes of the format', () => {
    expect(hex(fingerprintOf(master))).toBe('c571134de066e1f9');
    expect(hex(wrapDataKey(dataKey, { under: master, purpose, nonce }))).toBe(
      '040404040404040404040404828598cb1a02e5e5d6ffd147ceb583229b70db848c3e13b41c55f3fe71aa483a96e26e73cf5a10aa3a8723f932b3591c',
    );
    const [sealed, tag] = new FrameCipher(dataKey, contentId).seal(Buffer.from('hello'), {
      number: 7,
      last: true,
      compressed: false,
    });
    expect(hex(sealed) + hex(tag)).toBe('263017a408defaec179f978f0627185b4100fbf25c');
  });

  it('comes back only under the same key, for the same content and context', () => {
    const wrapped = wrapDataKey(dataKey, { under: master, purpose, nonce });
    expect(unwrapDataKey(wrapped, { under: master, purpose })).toEqual(dataKey);
    const wrong = [
      { under: new Uint8Array(32).fill(9), purpose },
      { under: master, purpose: { ...purpose, contentId: new Uint8Array(32).fill(9) } },
      { under: master, purpose: { ...purpose, context: Buffer.from('{}') } },
    ];
    for (const options of wrong) expect(() => unwrapDataKey(wrapped, options)).toThrow(SealDamagedError);
  });

  it('notices every flipped bit and every other length', () => {
    const wrapped = wrapDataKey(dataKey, { under: master, purpose, nonce });
    for (let bit = 0; bit < wrapped.length * 8; bit++) {
      const flipped = Uint8Array.from(wrapped);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(() => unwrapDataKey(flipped, { under: master, purpose })).toThrow(SealDamagedError);
    }
    expect(() => unwrapDataKey(wrapped.subarray(1), { under: master, purpose })).toThrow(SealDamagedError);
    expect(() => unwrapDataKey(new Uint8Array(0), { under: master, purpose })).toThrow(SealDamagedError);
  });
});

describe("a customer's key", () => {
  const salt = new Uint8Array(16).fill(5);

  it('is told from every other by what is kept of it', () => {
    const check = checkOfCustomerKey(dataKey, salt);
    expect(isCustomerKey(dataKey, check)).toBe(true);
    expect(isCustomerKey(master, check)).toBe(false);
    expect(isCustomerKey(dataKey.subarray(1), check)).toBe(false);
    expect(isCustomerKey(dataKey, check.subarray(1))).toBe(false);
  });

  it('leaves other traces with another salt', () => {
    const other = checkOfCustomerKey(dataKey, new Uint8Array(16).fill(6));
    expect(hex(other).slice(32)).not.toBe(hex(checkOfCustomerKey(dataKey, salt)).slice(32));
  });
});
