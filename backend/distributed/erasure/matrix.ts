import assert from 'node:assert/strict';

import { invert as invertElement, multiply as multiplyElements, power } from './galois.ts';

/** A matrix over GF(2^8), row by row. */
export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly cells: Uint8Array;
}

/**
 * The encoding matrix of a systematic code with `data` + `parity` rows and `data` columns: a Vandermonde matrix
 * (row r, column c holds r^c) times the inverse of its top square, so that the top is the identity and any `data`
 * rows are independent. The construction of klauspost/reedsolomon and the `reed-solomon-erasure` crate.
 */
export function encodingMatrix(data: number, parity: number): Matrix {
  const rows = data + parity;
  const vandermonde = matrix(rows, data);
  for (let r = 0; r < rows; r += 1) {
    for (let c = 0; c < data; c += 1) vandermonde.cells[r * data + c] = power(r, c);
  }
  const top = pickRows(
    vandermonde,
    Array.from({ length: data }, (_, r) => r),
  );
  return product(vandermonde, inverse(top));
}

/** The matrix made of the given rows of `from`, in that order. */
export function pickRows(from: Matrix, rows: readonly number[]): Matrix {
  const picked = matrix(rows.length, from.columns);
  rows.forEach((row, r) => {
    assert(row >= 0 && row < from.rows, `row ${row} of ${from.rows}`);
    picked.cells.set(from.cells.subarray(row * from.columns, (row + 1) * from.columns), r * from.columns);
  });
  return picked;
}

/** `a` times `b`. */
export function product(a: Matrix, b: Matrix): Matrix {
  assert.equal(a.columns, b.rows, 'inner dimensions differ');
  const result = matrix(a.rows, b.columns);
  for (let r = 0; r < a.rows; r += 1) {
    for (let i = 0; i < a.columns; i += 1) {
      addScaledRow(result, r, { from: b, row: i, factor: a.cells[r * a.columns + i] ?? 0 });
    }
  }
  return result;
}

/** The inverse of a square matrix, by Gauss-Jordan elimination. @throws RangeError when it has none. */
export function inverse(square: Matrix): Matrix {
  assert.equal(square.rows, square.columns, 'only a square matrix has an inverse');
  const n = square.rows;
  const left = matrix(n, n);
  left.cells.set(square.cells);
  const right = matrix(n, n);
  for (let i = 0; i < n; i += 1) right.cells[i * n + i] = 1;
  for (let c = 0; c < n; c += 1) {
    let pivot = c;
    while (pivot < n && left.cells[pivot * n + c] === 0) pivot += 1;
    if (pivot === n) throw new RangeError('the matrix is singular');
    if (pivot !== c) {
      swapRows(left, pivot, c);
      swapRows(right, pivot, c);
    }
    const factor = invertElement(left.cells[c * n + c] ?? 0);
    scaleRow(left, c, factor);
    scaleRow(right, c, factor);
    for (let r = 0; r < n; r += 1) {
      const scale = left.cells[r * n + c] ?? 0;
      if (r === c || scale === 0) continue;
      addScaledRow(left, r, { from: left, row: c, factor: scale });
      addScaledRow(right, r, { from: right, row: c, factor: scale });
    }
  }
  return right;
}

function matrix(rows: number, columns: number): Matrix {
  return { rows, columns, cells: new Uint8Array(rows * columns) };
}

function swapRows(of: Matrix, a: number, b: number): void {
  const n = of.columns;
  const kept = of.cells.slice(a * n, (a + 1) * n);
  of.cells.copyWithin(a * n, b * n, (b + 1) * n);
  of.cells.set(kept, b * n);
}

function scaleRow(of: Matrix, row: number, factor: number): void {
  const n = of.columns;
  for (let i = row * n; i < (row + 1) * n; i += 1) {
    of.cells[i] = multiplyElements(of.cells[i] ?? 0, factor);
  }
}

/** Row `row` of `to` += `factor` times a row of `from`. */
function addScaledRow(
  to: Matrix,
  row: number,
  add: { readonly from: Matrix; readonly row: number; readonly factor: number },
): void {
  if (add.factor === 0) return;
  const n = to.columns;
  const { cells } = add.from;
  for (let i = 0; i < n; i += 1) {
    const at = row * n + i;
    to.cells[at] = (to.cells[at] ?? 0) ^ multiplyElements(add.factor, cells[add.row * n + i] ?? 0);
  }
}
