/**
 * The CRC of two pieces laid end to end, from the CRCs of the pieces and the length of the second: appending n zero
 * bytes multiplies the register by x^(8n) modulo the polynomial. Reflected polynomials with equal start and final xor
 * (as all of S3's have) need no correction for either.
 */
export interface CrcPolynomial {
  readonly widthBits: 32 | 64;
  /** Reflected, without the top bit. */
  readonly reflected: bigint;
}

export const CRC32: CrcPolynomial = { widthBits: 32, reflected: 0xedb88320n };
export const CRC32C: CrcPolynomial = { widthBits: 32, reflected: 0x82f63b78n };
export const CRC64NVME: CrcPolynomial = { widthBits: 64, reflected: 0x9a6c9329ac4bc9b5n };

/** Remembers the multiplier of each length: the parts of an upload are mostly of one. */
export class CrcCombiner {
  readonly #polynomial: CrcPolynomial;
  readonly #multipliers = new Map<number, bigint>();

  constructor(polynomial: CrcPolynomial) {
    this.#polynomial = polynomial;
  }

  /** @param second CRC and length in bytes of the piece that follows. */
  combine(first: bigint, second: { readonly crc: bigint; readonly lengthBytes: number }): bigint {
    let multiplier = this.#multipliers.get(second.lengthBytes);
    if (multiplier === undefined) {
      multiplier = powerOfX8(this.#polynomial, BigInt(second.lengthBytes));
      this.#multipliers.set(second.lengthBytes, multiplier);
    }
    return multiply(this.#polynomial, multiplier, first) ^ second.crc;
  }
}

/** x^(8n) modulo the polynomial, by squaring. */
function powerOfX8(polynomial: CrcPolynomial, bytes: bigint): bigint {
  const top = 1n << BigInt(polynomial.widthBits - 1);
  let result = top; // x^0: in reflected order the top bit is the constant term.
  let square = top >> 8n; // x^8
  for (let left = bytes; left > 0n; left >>= 1n) {
    if ((left & 1n) === 1n) result = multiply(polynomial, result, square);
    square = multiply(polynomial, square, square);
  }
  return result;
}

/** Product of two polynomials in reflected order, modulo `polynomial`. */
function multiply(polynomial: CrcPolynomial, a: bigint, b: bigint): bigint {
  let product = 0n;
  let shifted = b;
  for (let bit = 1n << BigInt(polynomial.widthBits - 1); bit > 0n; bit >>= 1n) {
    if ((a & bit) !== 0n) product ^= shifted;
    shifted = (shifted & 1n) === 1n ? (shifted >> 1n) ^ polynomial.reflected : shifted >> 1n;
  }
  return product;
}
