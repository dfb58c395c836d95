import { createHash } from 'node:crypto';
import { crc32, crc32c } from '@node-rs/crc32';
import type { ChecksumAlgorithm, ChecksumType } from '../backend.ts';
import { CrcCombiner, CRC32, CRC32C, CRC64NVME, type CrcPolynomial } from './crc_combine.ts';
import { Crc64Nvme } from './crc64nvme.ts';

/** A checksum under way: feed it in order, then ask once. */
export interface Checksummer {
  readonly algorithm: ChecksumAlgorithm;
  update(data: Uint8Array): void;
  /** The raw checksum, CRCs in big-endian order, as S3 encodes them in base64. */
  digest(): Uint8Array;
}

/** Bytes of a raw checksum. */
export const CHECKSUM_BYTES: Readonly<Record<ChecksumAlgorithm, number>> = {
  CRC32: 4,
  CRC32C: 4,
  CRC64NVME: 8,
  SHA1: 20,
  SHA256: 32,
};

const POLYNOMIALS: Readonly<Partial<Record<ChecksumAlgorithm, CrcPolynomial>>> = { CRC32, CRC32C, CRC64NVME };

/** S3's checksum algorithms. Load once a process; the loaded value holds no state of any stream. */
export class Checksums {
  readonly #crc64: Crc64Nvme;

  private constructor(crc64: Crc64Nvme) {
    this.#crc64 = crc64;
  }

  static async load(): Promise<Checksums> {
    return new Checksums(await Crc64Nvme.load());
  }

  create(algorithm: ChecksumAlgorithm): Checksummer {
    switch (algorithm) {
      case 'CRC32':
        return new RunningCrc32(algorithm, crc32);
      case 'CRC32C':
        return new RunningCrc32(algorithm, crc32c);
      case 'CRC64NVME':
        return new RunningCrc64(this.#crc64);
      case 'SHA1':
        return new RunningHash(algorithm, 'sha1');
      case 'SHA256':
        return new RunningHash(algorithm, 'sha256');
    }
  }

  /**
   * The checksum of the pieces laid end to end, from the pieces' own (CRC algorithms only).
   * @throws RangeError for SHA1 and SHA256, whose pieces don't combine.
   */
  combine(
    algorithm: ChecksumAlgorithm,
    pieces: readonly { readonly checksum: Uint8Array; readonly lengthBytes: number }[],
  ): Uint8Array {
    const polynomial = POLYNOMIALS[algorithm];
    if (polynomial === undefined) throw new RangeError(`${algorithm} of pieces can't be combined`);
    const combiner = new CrcCombiner(polynomial);
    let crc = 0n;
    for (const piece of pieces) {
      crc = combiner.combine(crc, { crc: bigintOf(piece.checksum), lengthBytes: piece.lengthBytes });
    }
    return bytesOf(crc, polynomial.widthBits / 8);
  }

  /** S3's composite: the checksum of the parts' raw checksums one after another; its text form ends with `-N`. */
  compose(algorithm: ChecksumAlgorithm, checksums: readonly Uint8Array[]): Uint8Array {
    const summer = this.create(algorithm);
    for (const checksum of checksums) summer.update(checksum);
    return summer.digest();
  }
}

/** What S3 makes of a multipart object's checksum where the client names only the algorithm. */
export function defaultChecksumType(algorithm: ChecksumAlgorithm): ChecksumType {
  return POLYNOMIALS[algorithm] === undefined ? 'COMPOSITE' : 'FULL_OBJECT';
}

/** Whether S3 allows the pair: SHA can't be combined, CRC64NVME exists only for whole objects. */
export function isChecksumTypeAllowed(algorithm: ChecksumAlgorithm, type: ChecksumType): boolean {
  if (algorithm === 'CRC64NVME') return type === 'FULL_OBJECT';
  return type === 'COMPOSITE' || POLYNOMIALS[algorithm] !== undefined;
}

class RunningCrc32 implements Checksummer {
  readonly algorithm: ChecksumAlgorithm;
  readonly #function: (data: Uint8Array, previous: number) => number;
  #crc = 0;

  constructor(algorithm: ChecksumAlgorithm, next: (data: Uint8Array, previous: number) => number) {
    this.algorithm = algorithm;
    this.#function = next;
  }

  update(data: Uint8Array): void {
    this.#crc = this.#function(data, this.#crc);
  }

  digest(): Uint8Array {
    return bytesOf(BigInt(this.#crc), 4);
  }
}

class RunningCrc64 implements Checksummer {
  readonly algorithm = 'CRC64NVME';
  readonly #crc64: Crc64Nvme;
  #crc = 0n;

  constructor(crc64: Crc64Nvme) {
    this.#crc64 = crc64;
  }

  update(data: Uint8Array): void {
    this.#crc = this.#crc64.update(this.#crc, data);
  }

  digest(): Uint8Array {
    return bytesOf(this.#crc, 8);
  }
}

class RunningHash implements Checksummer {
  readonly algorithm: ChecksumAlgorithm;
  readonly #hash: ReturnType<typeof createHash>;

  constructor(algorithm: ChecksumAlgorithm, name: 'sha1' | 'sha256') {
    this.algorithm = algorithm;
    this.#hash = createHash(name);
  }

  update(data: Uint8Array): void {
    this.#hash.update(data);
  }

  digest(): Uint8Array {
    return this.#hash.digest();
  }
}

function bytesOf(value: bigint, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let left = value;
  for (let i = length - 1; i >= 0; i--) {
    bytes[i] = Number(left & 0xffn);
    left >>= 8n;
  }
  return bytes;
}

function bigintOf(bytes: Uint8Array): bigint {
  let value = 0n;
  for (const byte of bytes) value = (value << 8n) | BigInt(byte);
  return value;
}
