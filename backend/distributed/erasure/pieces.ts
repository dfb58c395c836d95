import assert from 'node:assert/strict';

import type { Pieces } from './codec.ts';

/** Bytes in all pieces together. */
export function piecesLength(pieces: Pieces): number {
  let length = 0;
  for (const piece of pieces) length += piece.byteLength;
  return length;
}

/** The bytes `from` to `to - 1` of the pieces, as views. */
export function slicePieces(
  pieces: Pieces,
  range: { readonly from: number; readonly to: number },
): Uint8Array[] {
  const views: Uint8Array[] = [];
  let at = 0;
  for (const piece of pieces) {
    const start = Math.max(range.from - at, 0);
    const end = Math.min(range.to - at, piece.byteLength);
    if (start < end) views.push(start === 0 && end === piece.byteLength ? piece : piece.subarray(start, end));
    at += piece.byteLength;
    if (at >= range.to) break;
  }
  return views;
}

/** Walks a block front to back, copying it out slice by slice; past its end it reads as zeros. */
export class PiecesCursor {
  readonly #pieces: Pieces;
  #piece = 0;
  #offset = 0;

  constructor(pieces: Pieces) {
    this.#pieces = pieces;
  }

  /** Fills `target` with the next bytes. */
  copyTo(target: Uint8Array): void {
    let done = 0;
    while (done < target.byteLength) {
      const piece = this.#pieces[this.#piece];
      if (piece === undefined) {
        target.fill(0, done);
        return;
      }
      const count = Math.min(target.byteLength - done, piece.byteLength - this.#offset);
      target.set(
        this.#offset === 0 && count === piece.byteLength
          ? piece
          : piece.subarray(this.#offset, this.#offset + count),
        done,
      );
      done += count;
      this.#offset += count;
      if (this.#offset === piece.byteLength) {
        this.#piece += 1;
        this.#offset = 0;
      }
    }
  }
}

/** Whether the pieces, padded with zeros, hold just these bytes. */
export function piecesEqual(pieces: Pieces, bytes: Uint8Array): boolean {
  assert(piecesLength(pieces) <= bytes.byteLength, 'a block is longer than its stripe says');
  let at = 0;
  for (const piece of pieces) {
    if (Buffer.compare(piece, bytes.subarray(at, at + piece.byteLength)) !== 0) return false;
    at += piece.byteLength;
  }
  return bytes.subarray(at).every((byte) => byte === 0);
}
