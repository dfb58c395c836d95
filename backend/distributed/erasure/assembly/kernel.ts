// Dot products over GF(2^8): out[j] = sum over i of coefficient(j, i) * in[i], for whole columns of bytes.
//
// Multiplying a byte v by a constant c is two look-ups: c * (v & 15) xor c * (v >> 4 << 4); both tables have 16
// entries, so a swizzle does 16 bytes at once (Plank, Greenan, Miller, "Screaming Fast Galois Field Arithmetic Using
// Intel SIMD Instructions", FAST 2013). Indices are below 16, where the relaxed swizzle is deterministic.
//
// tables: 32 bytes for each (j, i), row by row: products of 0..15, then products of 0, 16, .. 240.
// Input i is at input + i * stride, output j at output + j * stride. length and stride are multiples of 32.

export function dot(
  tables: usize,
  input: usize,
  output: usize,
  inputs: i32,
  outputs: i32,
  stride: usize,
  length: usize,
): void {
  const mask = i8x16.splat(0x0f);
  let j: i32 = 0;
  // Rows of output in pairs: a column is loaded and split into nibbles once for both.
  for (; j + 1 < outputs; j += 2) {
    const rowA = tables + <usize>(j * inputs) * 32;
    const rowB = rowA + <usize>inputs * 32;
    const outA = output + <usize>j * stride;
    const outB = outA + stride;
    for (let x: usize = 0; x < length; x += 32) {
      let a0 = i64x2.splat(0);
      let a1 = i64x2.splat(0);
      let b0 = i64x2.splat(0);
      let b1 = i64x2.splat(0);
      let from = input + x;
      let tableA = rowA;
      let tableB = rowB;
      for (let i: i32 = 0; i < inputs; i++) {
        const v0 = v128.load(from);
        const v1 = v128.load(from, 16);
        const low0 = v128.and(v0, mask);
        const high0 = i8x16.shr_u(v0, 4);
        const low1 = v128.and(v1, mask);
        const high1 = i8x16.shr_u(v1, 4);
        const lowA = v128.load(tableA);
        const highA = v128.load(tableA, 16);
        a0 = v128.xor(a0, v128.xor(i8x16.relaxed_swizzle(lowA, low0), i8x16.relaxed_swizzle(highA, high0)));
        a1 = v128.xor(a1, v128.xor(i8x16.relaxed_swizzle(lowA, low1), i8x16.relaxed_swizzle(highA, high1)));
        const lowB = v128.load(tableB);
        const highB = v128.load(tableB, 16);
        b0 = v128.xor(b0, v128.xor(i8x16.relaxed_swizzle(lowB, low0), i8x16.relaxed_swizzle(highB, high0)));
        b1 = v128.xor(b1, v128.xor(i8x16.relaxed_swizzle(lowB, low1), i8x16.relaxed_swizzle(highB, high1)));
        from += stride;
        tableA += 32;
        tableB += 32;
      }
      v128.store(outA + x, a0);
      v128.store(outA + x, a1, 16);
      v128.store(outB + x, b0);
      v128.store(outB + x, b1, 16);
    }
  }
  if (j < outputs) {
    const row = tables + <usize>(j * inputs) * 32;
    const out = output + <usize>j * stride;
    for (let x: usize = 0; x < length; x += 32) {
      let a0 = i64x2.splat(0);
      let a1 = i64x2.splat(0);
      let from = input + x;
      let table = row;
      for (let i: i32 = 0; i < inputs; i++) {
        const v0 = v128.load(from);
        const v1 = v128.load(from, 16);
        const low = v128.load(table);
        const high = v128.load(table, 16);
        a0 = v128.xor(
          a0,
          v128.xor(
            i8x16.relaxed_swizzle(low, v128.and(v0, mask)),
            i8x16.relaxed_swizzle(high, i8x16.shr_u(v0, 4)),
          ),
        );
        a1 = v128.xor(
          a1,
          v128.xor(
            i8x16.relaxed_swizzle(low, v128.and(v1, mask)),
            i8x16.relaxed_swizzle(high, i8x16.shr_u(v1, 4)),
          ),
        );
        from += stride;
        table += 32;
      }
      v128.store(out + x, a0);
      v128.store(out + x, a1, 16);
    }
  }
}
