import { createHash, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import type { ChecksumAlgorithm } from '../backend.ts';
import { Checksums, defaultChecksumType, isChecksumTypeAllowed } from './checksums.ts';

const CHECK = Buffer.from('123456789');
let checksums: Checksums;
beforeAll(async () => {
  checksums = await Checksums.load();
});

function hexOf(algorithm: ChecksumAlgorithm, ...pieces: Uint8Array[]): string {
  const summer = checksums.create(algorithm);
  for (const piece of pieces) summer.update(piece);
  return Buffer.from(summer.digest()).toString('hex');
}

/** Bit by bit, from the definition. */
function slowCrc64(data: Uint8Array): string {
  let crc = 0xffff_ffff_ffff_ffffn;
  for (const byte of data) {
    crc ^= BigInt(byte);
    for (let i = 0; i < 8; i++) crc = (crc & 1n) === 1n ? (crc >> 1n) ^ 0x9a6c9329ac4bc9b5n : crc >> 1n;
  }
  return (crc ^ 0xffff_ffff_ffff_ffffn).toString(16).padStart(16, '0');
}

describe('Checksums', () => {
  it('gives the published check values', () => {
    expect(hexOf('CRC32', CHECK)).toBe('cbf43926');
    expect(hexOf('CRC32C', CHECK)).toBe('e3069283');
    expect(hexOf('CRC64NVME', CHECK)).toBe('ae8b14860a799888');
    expect(hexOf('SHA1', CHECK)).toBe(createHash('sha1').update(CHECK).digest('hex'));
    expect(hexOf('SHA256', CHECK)).toBe(createHash('sha256').update(CHECK).digest('hex'));
  });

  it('gives CRC64NVME of any bytes in any pieces as the definition does', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 70 }), { maxLength: 5 }), (pieces) => {
        expect(hexOf('CRC64NVME', ...pieces)).toBe(slowCrc64(Buffer.concat(pieces)));
      }),
    );
  });

  it('carries CRC64NVME over the window of the WebAssembly memory', () => {
    const data = randomBytes(200_001);
    const whole = hexOf('CRC64NVME', data);
    expect(whole).toBe(slowCrc64(data));
    expect(hexOf('CRC64NVME', data.subarray(0, 65_537), data.subarray(65_537))).toBe(whole);
  });

  it('keeps streams apart', () => {
    const a = checksums.create('CRC64NVME');
    const b = checksums.create('CRC64NVME');
    a.update(CHECK.subarray(0, 4));
    b.update(Buffer.from('other'));
    a.update(CHECK.subarray(4));
    expect(Buffer.from(a.digest()).toString('hex')).toBe('ae8b14860a799888');
  });

  it.each(['CRC32', 'CRC32C', 'CRC64NVME'] as const)(
    'combines %s of pieces into that of the whole',
    (name) => {
      fc.assert(
        fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 6 }), (pieces) => {
          const combined = checksums.combine(
            name,
            pieces.map((piece) => ({
              checksum: Buffer.from(hexOf(name, piece), 'hex'),
              lengthBytes: piece.length,
            })),
          );
          expect(Buffer.from(combined).toString('hex')).toBe(hexOf(name, Buffer.concat(pieces)));
        }),
      );
    },
  );

  it('combines lengths beyond 32 bits', () => {
    // Appending 2^33 zero bytes in one step equals doing so in two.
    const crc = Buffer.from(hexOf('CRC64NVME', CHECK), 'hex');
    const zero = new Uint8Array(8);
    const once = checksums.combine('CRC64NVME', [
      { checksum: crc, lengthBytes: 9 },
      { checksum: zero, lengthBytes: 2 ** 33 },
    ]);
    const twice = checksums.combine('CRC64NVME', [
      { checksum: crc, lengthBytes: 9 },
      { checksum: zero, lengthBytes: 2 ** 32 },
      { checksum: zero, lengthBytes: 2 ** 32 },
    ]);
    expect(once).toEqual(twice);
  });

  it('refuses to combine SHA and knows which types go with which algorithm', () => {
    expect(() => checksums.combine('SHA256', [])).toThrow(RangeError);
    expect(defaultChecksumType('CRC32')).toBe('FULL_OBJECT');
    expect(defaultChecksumType('SHA1')).toBe('COMPOSITE');
    expect(isChecksumTypeAllowed('CRC64NVME', 'COMPOSITE')).toBe(false);
    expect(isChecksumTypeAllowed('CRC32C', 'COMPOSITE')).toBe(true);
    expect(isChecksumTypeAllowed('SHA256', 'FULL_OBJECT')).toBe(false);
  });
});
