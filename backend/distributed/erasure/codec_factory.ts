import { readFile } from 'node:fs/promises';

import { checkShape } from './codec.ts';
import type { Allocate, Codec, CodeShape } from './codec.ts';
import { CrateCodec } from './crate_codec.ts';
import { KernelCodec } from './kernel_codec.ts';
import { webAssembly } from './webassembly.ts';
import type { CompiledModule } from './webassembly.ts';

/** Where the compiled kernel lies: beside this file. */
const kernelPath = new URL('kernel.wasm', import.meta.url);

/**
 * Makes codecs. The SIMD kernel where this runtime can run it, else the slower WebAssembly build of the Rust crate;
 * both give the same bytes. `kind` says which, so that the caller can log it.
 */
export class CodecFactory {
  readonly kind: 'kernel' | 'crate';
  readonly #module: CompiledModule | undefined;
  readonly #codecs = new Map<string, Codec>();

  readonly #allocate: Allocate;

  private constructor(module: CompiledModule | undefined, allocate: Allocate) {
    this.#module = module;
    this.#allocate = allocate;
    this.kind = module === undefined ? 'crate' : 'kernel';
  }

  /** @throws Error when the kernel was not built (`make build`). */
  static async open(
    allocate: Allocate = (sizeBytes) => Buffer.allocUnsafeSlow(sizeBytes),
  ): Promise<CodecFactory> {
    let bytes: Uint8Array<ArrayBuffer>;
    try {
      bytes = await readFile(kernelPath);
    } catch (cause) {
      throw new Error(`cannot read ${kernelPath.pathname}: build it with "make build"`, { cause });
    }
    const module = webAssembly.validate(bytes) ? await webAssembly.compile(bytes) : undefined;
    return new CodecFactory(module, allocate);
  }

  /** The codec of this shape; one for each shape is made and shared. @throws RangeError for an impossible shape. */
  codec(shape: CodeShape): Codec {
    checkShape(shape);
    const key = `${shape.data}+${shape.parity}`;
    let codec = this.#codecs.get(key);
    if (codec === undefined) {
      codec =
        this.#module === undefined
          ? CrateCodec.create(shape)
          : new KernelCodec(shape, { module: this.#module, allocate: this.#allocate });
      this.#codecs.set(key, codec);
    }
    return codec;
  }
}
