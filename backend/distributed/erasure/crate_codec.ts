import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

import type { ReedSolomonErasure } from '@subspace/reed-solomon-erasure.wasm';

import type { Codec, CodeShape, Pieces, ReconstructRequest } from './codec.ts';
import { PiecesCursor, piecesEqual, piecesLength } from './pieces.ts';

const require = createRequire(import.meta.url);

/** The crate is called with at most this much at once, since it copies all of it twice. */
const workingSetBytes = 1024 * 1024;

/**
 * The codec on the WebAssembly build of the Rust crate `reed-solomon-erasure`: no SIMD needed, several times slower.
 */
export class CrateCodec implements Codec {
  readonly data: number;
  readonly parity: number;
  readonly #instantiate: () => ReedSolomonErasure;
  readonly #encoder: ReedSolomonErasure;

  private constructor(shape: CodeShape, instantiate: () => ReedSolomonErasure) {
    this.data = shape.data;
    this.parity = shape.parity;
    this.#instantiate = instantiate;
    this.#encoder = instantiate();
  }

  /** Reads the package's WebAssembly file, synchronously: small, and once for a shape. */
  static create(shape: CodeShape): CrateCodec {
    const name = '@subspace/reed-solomon-erasure.wasm';
    const { ReedSolomonErasure: Crate } = require(name) as {
      readonly ReedSolomonErasure: typeof ReedSolomonErasure;
    };
    const path = require.resolve(name).replace(/index\.js$/, 'reed_solomon_erasure_bg.wasm');
    const bytes = readFileSync(path);
    return new CrateCodec(shape, () => Crate.fromBytes(bytes));
  }

  encode(data: readonly Pieces[], lengthBytes: number): Uint8Array[] {
    assert.equal(data.length, this.data, 'the number of data blocks');
    if (this.parity === 0) return [];
    const memory = Buffer.allocUnsafeSlow(this.parity * lengthBytes);
    const results = Array.from({ length: this.parity }, (_, j) => cut(memory, j, lengthBytes));
    this.#slices(data, lengthBytes, (shards, slice) => {
      this.#check(this.#encoder.encode(shards, this.data, this.parity));
      results.forEach((block, j) => {
        block.set(cut(shards, this.data + j, slice.count), slice.at);
      });
    });
    return results;
  }

  reconstruct(present: readonly (Pieces | undefined)[], request: ReconstructRequest): Uint8Array[] {
    const { wanted, lengthBytes } = request;
    const total = this.data + this.parity;
    const have = Array.from({ length: total }, (_, index) => present[index] !== undefined);
    const count = have.filter(Boolean).length;
    if (count < this.data) throw new RangeError(`${count} blocks are present, ${this.data} are needed`);
    const blocks = Array.from({ length: total }, (_, index) => present[index] ?? []);
    const results = wanted.map(() => Buffer.allocUnsafeSlow(lengthBytes));
    const parityWanted = wanted.some((index) => index >= this.data);
    this.#slices(blocks, lengthBytes, (shards, slice) => {
      // The crate gives back data blocks only; parity is encoded again from them.
      if (have.slice(0, this.data).includes(false)) {
        // An instance for each call: its `reconstruct` frees the flags twice, and the next call would find
        // its heap corrupted.
        this.#check(this.#instantiate().reconstruct(shards, this.data, this.parity, have));
      }
      if (parityWanted) this.#check(this.#encoder.encode(shards, this.data, this.parity));
      wanted.forEach((index, j) => {
        results[j]?.set(cut(shards, index, slice.count), slice.at);
      });
    });
    return results;
  }

  verify(blocks: readonly Pieces[], lengthBytes: number): boolean {
    assert.equal(blocks.length, this.data + this.parity, 'the number of blocks');
    const parity = this.encode(blocks.slice(0, this.data), lengthBytes);
    return parity.every((block, i) => piecesEqual(blocks[this.data + i] ?? [], block));
  }

  #slices(
    blocks: readonly Pieces[],
    lengthBytes: number,
    run: (shards: Uint8Array, slice: { readonly at: number; readonly count: number }) => void,
  ): void {
    for (const block of blocks) {
      assert(piecesLength(block) <= lengthBytes, 'a block is longer than its stripe says');
    }
    const total = this.data + this.parity;
    const sliceBytes = Math.floor(workingSetBytes / total);
    const cursors = blocks.map((block) => new PiecesCursor(block));
    for (let at = 0; at < lengthBytes; at += sliceBytes) {
      const count = Math.min(sliceBytes, lengthBytes - at);
      const shards = new Uint8Array(total * count);
      cursors.forEach((cursor, index) => {
        cursor.copyTo(cut(shards, index, count));
      });
      run(shards, { at, count });
    }
  }

  #check(result: number): void {
    assert.equal(result, 0, `the reed-solomon-erasure crate answered ${result}`);
  }
}

function cut(shards: Uint8Array, index: number, length: number): Uint8Array {
  return shards.subarray(index * length, (index + 1) * length);
}
