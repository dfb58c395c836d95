/**
 * Arithmetic in GF(2^8) with the polynomial x^8 + x^4 + x^3 + x^2 + 1 (0x11D) and generator 2: the field of
 * klauspost/reedsolomon and of the `reed-solomon-erasure` crate. Elements are integers 0..255; addition is XOR.
 */

const order = 255;
const exp = new Uint8Array(2 * order);
const log = new Uint8Array(256);
for (let i = 0, x = 1; i < order; i += 1) {
  exp[i] = x;
  exp[i + order] = x;
  log[x] = i;
  x <<= 1;
  if (x > 255) x ^= 0x11d;
}

/** The product of two elements. */
export function multiply(a: number, b: number): number {
  if (a === 0 || b === 0) return 0;
  return exp[(log[a] ?? 0) + (log[b] ?? 0)] ?? 0;
}

/** The multiplicative inverse. @throws RangeError for 0, which has none. */
export function invert(a: number): number {
  if (a === 0) throw new RangeError('0 has no inverse in GF(2^8)');
  return exp[order - (log[a] ?? 0)] ?? 0;
}

/** `a` to the power of `n` (n >= 0); 0 to the power of 0 is 1. */
export function power(a: number, n: number): number {
  if (n === 0) return 1;
  if (a === 0) return 0;
  return exp[((log[a] ?? 0) * n) % order] ?? 0;
}
