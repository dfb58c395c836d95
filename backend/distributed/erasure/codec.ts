/**
 * A systematic Reed-Solomon code of K data and M parity blocks over GF(2^8): any K of the K + M blocks give back the
 * rest. Blocks are numbered 0..K-1 (data) and K..K+M-1 (parity); byte x of each block depends only on the bytes x of
 * the others, so equal cuts of blocks are blocks again. Calls are synchronous and keep nothing of what they are given.
 */
export interface Codec {
  readonly data: number;
  readonly parity: number;
  /** The M parity blocks, each `lengthBytes` long, all in one memory that the factory's `allocate` gave. Data blocks that are shorter end in zeros. */
  encode(data: readonly Pieces[], lengthBytes: number): Uint8Array[];
  /**
   * The blocks numbered in `wanted`, in that order, in memory that the factory's `allocate` gave. `present` holds K + M
   * slots; any K filled ones are used, the lowest first.
   * @throws RangeError when fewer than K are filled.
   */
  reconstruct(present: readonly (Pieces | undefined)[], request: ReconstructRequest): Uint8Array[];
  /** Whether all K + M blocks belong together. */
  verify(blocks: readonly Pieces[], lengthBytes: number): boolean;
}

/** A block in pieces, in order, so that what came in chunks need not be copied together. */
export type Pieces = readonly Uint8Array[];

export interface ReconstructRequest {
  readonly wanted: readonly number[];
  readonly lengthBytes: number;
}

/** Where the blocks that are made go: a buffer of just so many bytes, with a memory of its own. */
export type Allocate = (sizeBytes: number) => Buffer;

/** K and M of a code. */
export interface CodeShape {
  readonly data: number;
  readonly parity: number;
}

/** @throws RangeError unless K >= 1, M >= 0 and K + M <= 256. */
export function checkShape(shape: CodeShape): void {
  const { data, parity } = shape;
  if (!Number.isInteger(data) || data < 1)
    throw new RangeError(`data must be an integer of at least 1, not ${data}`);
  if (!Number.isInteger(parity) || parity < 0) {
    throw new RangeError(`parity must be an integer of at least 0, not ${parity}`);
  }
  if (data + parity > 256) {
    throw new RangeError(`data + parity must be at most 256, not ${data} + ${parity}`);
  }
}
