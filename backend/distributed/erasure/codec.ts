import { readFile } from 'node:fs/promises';

import { CrateCodec } from './crate_codec.ts';
import { KernelCodec } from './kernel_codec.ts';
import { webAssembly } from './webassembly.ts';
import type { CompiledModule } from './webassembly.ts';

/**
 * A systematic Reed-Solomon code of K data and M parity blocks over GF(2^8): any K of the K + M blocks give back the
 * rest. Blocks are numbered 0..K-1 (data) and K..K+M-1 (parity); byte x of each block depends only on the bytes x of
 * the others, so equal cuts of blocks are blocks again. Calls are synchronous and keep nothing of what they are given.
 */
export interface Codec {
  readonly data: number;
  readonly parity: number;
  /** The M parity blocks, freshly allocated, each `lengthBytes` long. Data blocks that are shorter end in zeros. */
  encode(data: readonly Pieces[], lengthBytes: number): Uint8Array[];
  /**
   * The blocks numbered in `wanted`, in that order, freshly allocated. `present` holds K + M slots; any K filled
   * ones are used, the lowest first.
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

/** Where the compiled kernel lies: beside this file. */
export const kernelPath = new URL('kernel.wasm', import.meta.url);

/**
 * Makes codecs. The SIMD kernel where this runtime can run it, else the slower WebAssembly build of the Rust crate;
 * both give the same bytes. `kind` says which, so that the caller can log it.
 */
export class CodecFactory {
  readonly kind: 'kernel' | 'crate';
  readonly #module: CompiledModule | undefined;
  readonly #codecs = new Map<string, Codec>();

  private constructor(module: CompiledModule | undefined) {
    this.#module = module;
    this.kind = module === undefined ? 'crate' : 'kernel';
  }

  /** @throws Error when the kernel was not built (`npm run build:kernel`). */
  static async open(): Promise<CodecFactory> {
    let bytes: Uint8Array<ArrayBuffer>;
    try {
      bytes = await readFile(kernelPath);
    } catch (cause) {
      throw new Error(`cannot read ${kernelPath.pathname}: build it with "npm run build:kernel"`, { cause });
    }
    return new CodecFactory(webAssembly.validate(bytes) ? await webAssembly.compile(bytes) : undefined);
  }

  /** The codec of this shape; one for each shape is made and shared. @throws RangeError for an impossible shape. */
  codec(shape: CodeShape): Codec {
    checkShape(shape);
    const key = `${shape.data}+${shape.parity}`;
    let codec = this.#codecs.get(key);
    if (codec === undefined) {
      codec = this.#module === undefined ? CrateCodec.create(shape) : new KernelCodec(shape, this.#module);
      this.#codecs.set(key, codec);
    }
    return codec;
  }
}
