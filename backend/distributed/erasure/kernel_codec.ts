import assert from 'node:assert/strict';

import type { Allocate, Codec, CodeShape, Pieces, ReconstructRequest } from './codec.ts';
import { multiply } from './galois.ts';
import { encodingMatrix, inverse, pickRows, product } from './matrix.ts';
import type { Matrix } from './matrix.ts';
import { PiecesCursor, piecesEqual, piecesLength } from './pieces.ts';
import { webAssembly } from './webassembly.ts';
import type { CompiledModule } from './webassembly.ts';

/** What the kernel works on at once, so that it stays in a core's second-level cache. */
const workingSetBytes = 512 * 1024;
/** The kernel takes 32 bytes of a column at a time. */
const stepBytes = 32;
/** Rows that are a multiple of a big power of two apart would compete for the same cache lines. */
const skewBytes = 96;
const bytesPerTable = 32;
/** Reconstruction tables that are kept; one is at most K * M * 32 bytes. */
const maxCachedPatterns = 64;

type Dot = (
  tables: number,
  input: number,
  output: number,
  inputs: number,
  outputs: number,
  stride: number,
  length: number,
) => void;

/**
 * The codec on the WebAssembly SIMD kernel. Its memory is fixed at construction whatever the block length: blocks go
 * through it slice by slice, copied in once and results copied out once.
 */
export class KernelCodec implements Codec {
  readonly data: number;
  readonly parity: number;
  readonly #matrix: Matrix;
  readonly #encodeTables: Uint8Array;
  readonly #patterns = new Map<string, Uint8Array>();
  readonly #memory: Uint8Array;
  readonly #dot: Dot;
  readonly #inputAt: number;
  readonly #outputAt: number;
  readonly #sliceBytes: number;
  readonly #strideBytes: number;
  /** Which tables lie in the kernel's memory now. */
  #loaded: Uint8Array | undefined;

  readonly #allocate: Allocate;

  constructor(shape: CodeShape, runtime: { readonly module: CompiledModule; readonly allocate: Allocate }) {
    const { module } = runtime;
    this.#allocate = runtime.allocate;
    this.data = shape.data;
    this.parity = shape.parity;
    const total = shape.data + shape.parity;
    this.#matrix = encodingMatrix(shape.data, shape.parity);
    const parityRows = Array.from({ length: shape.parity }, (_, row) => shape.data + row);
    this.#encodeTables = nibbleTables(pickRows(this.#matrix, parityRows));
    this.#sliceBytes = Math.floor(workingSetBytes / total / stepBytes) * stepBytes;
    this.#strideBytes = this.#sliceBytes + skewBytes;
    this.#inputAt = Math.ceil((shape.data * Math.max(shape.parity, 1) * bytesPerTable) / 64) * 64;
    this.#outputAt = this.#inputAt + shape.data * this.#strideBytes;
    const pages = Math.ceil((this.#outputAt + Math.max(shape.parity, 1) * this.#strideBytes) / 65_536);
    const memory = new webAssembly.Memory({ initial: pages, maximum: pages });
    this.#memory = new Uint8Array(memory.buffer);
    const instance = new webAssembly.Instance(module, { env: { memory } });
    this.#dot = instance.exports['dot'] as Dot;
  }

  encode(data: readonly Pieces[], lengthBytes: number): Uint8Array[] {
    assert.equal(data.length, this.data, 'the number of data blocks');
    if (this.parity === 0) return [];
    const result = this.#allocate(this.parity * lengthBytes);
    return this.#run(data, { tables: this.#encodeTables, outputs: this.parity, lengthBytes, result });
  }

  reconstruct(present: readonly (Pieces | undefined)[], request: ReconstructRequest): Uint8Array[] {
    const { wanted, lengthBytes } = request;
    assert(present.length <= this.data + this.parity, 'more blocks than the code has');
    const inputs: Pieces[] = [];
    const indexes: number[] = [];
    for (const [index, block] of present.entries()) {
      if (block === undefined || inputs.length === this.data) continue;
      inputs.push(block);
      indexes.push(index);
    }
    if (inputs.length < this.data) {
      throw new RangeError(`${inputs.length} blocks are present, ${this.data} are needed`);
    }
    const results: Uint8Array[] = [];
    // As many outputs at a time as there is room for; a block is wanted when it is missing, so mostly one round.
    const room = Math.max(this.parity, 1);
    for (let from = 0; from < wanted.length; from += room) {
      const some = wanted.slice(from, from + room);
      const tables = this.#reconstructTables(indexes, some);
      const result = this.#allocate(some.length * lengthBytes);
      results.push(...this.#run(inputs, { tables, outputs: some.length, lengthBytes, result }));
    }
    return results;
  }

  verify(blocks: readonly Pieces[], lengthBytes: number): boolean {
    assert.equal(blocks.length, this.data + this.parity, 'the number of blocks');
    const parity = this.encode(blocks.slice(0, this.data), lengthBytes);
    return parity.every((block, i) => piecesEqual(blocks[this.data + i] ?? [], block));
  }

  /** Tables of the rows that turn the blocks `indexes` into the blocks `wanted`. */
  #reconstructTables(indexes: readonly number[], wanted: readonly number[]): Uint8Array {
    const key = `${indexes.join()}>${wanted.join()}`;
    let tables = this.#patterns.get(key);
    if (tables === undefined) {
      const decoding = inverse(pickRows(this.#matrix, indexes));
      tables = nibbleTables(product(pickRows(this.#matrix, wanted), decoding));
      const oldest = this.#patterns.keys().next();
      if (this.#patterns.size >= maxCachedPatterns && oldest.done !== true) {
        this.#patterns.delete(oldest.value);
      }
      this.#patterns.set(key, tables);
    }
    return tables;
  }

  #run(
    inputs: readonly Pieces[],
    job: {
      readonly tables: Uint8Array;
      readonly outputs: number;
      readonly lengthBytes: number;
      /** One allocation for all outputs: they are written, sent and dropped together. */
      readonly result: Buffer;
    },
  ): Uint8Array[] {
    const { tables, outputs, lengthBytes, result } = job;
    for (const input of inputs) {
      assert(piecesLength(input) <= lengthBytes, 'a block is longer than its stripe says');
    }
    const memory = this.#memory;
    if (this.#loaded !== tables) {
      memory.set(tables, 0);
      this.#loaded = tables;
    }
    const cursors = inputs.map((input) => new PiecesCursor(input));
    const stride = this.#strideBytes;
    for (let done = 0; done < lengthBytes; done += this.#sliceBytes) {
      const count = Math.min(this.#sliceBytes, lengthBytes - done);
      const padded = Math.ceil(count / stepBytes) * stepBytes;
      let at = this.#inputAt;
      for (const cursor of cursors) {
        cursor.copyTo(memory.subarray(at, at + count));
        at += stride;
      }
      this.#dot(0, this.#inputAt, this.#outputAt, inputs.length, outputs, stride, padded);
      at = this.#outputAt;
      for (let j = 0; j < outputs; j += 1) {
        result.set(memory.subarray(at, at + count), j * lengthBytes + done);
        at += stride;
      }
    }
    return Array.from({ length: outputs }, (_, j) => result.subarray(j * lengthBytes, (j + 1) * lengthBytes));
  }
}

/** For each coefficient its products with 0..15 and with 0, 16, .. 240, row by row. */
function nibbleTables(matrix: Matrix): Uint8Array {
  const tables = new Uint8Array(matrix.cells.length * bytesPerTable);
  matrix.cells.forEach((coefficient, cell) => {
    for (let n = 0; n < 16; n += 1) {
      tables[cell * bytesPerTable + n] = multiply(coefficient, n);
      tables[cell * bytesPerTable + 16 + n] = multiply(coefficient, n << 4);
    }
  });
  return tables;
}
