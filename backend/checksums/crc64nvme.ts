import { readFile } from 'node:fs/promises';

/** What the module built from `assembly/crc64nvme.ts` exports. */
interface Crc64Exports {
  readonly memory: { readonly buffer: ArrayBuffer };
  readonly prepare: () => void;
  readonly update: (state: bigint, length: number) => bigint;
}

/** The part of the WebAssembly API that is used; Node has it, its types leave it to the browser's. */
interface WebAssemblyApi {
  instantiate(bytes: Uint8Array): Promise<{ readonly instance: { readonly exports: unknown } }>;
}

const WINDOW_OFFSET = 65_536;
const WINDOW_BYTES = 65_536;
const ALL_ONES = 0xffff_ffff_ffff_ffffn;

/**
 * CRC-64/NVME (reflected polynomial 0x9A6C9329AC4BC9B5, all-ones start and end), as S3's `x-amz-checksum-crc64nvme`.
 * One instance serves any number of streams: the register is passed in and out.
 */
export class Crc64Nvme {
  readonly #update: Crc64Exports['update'];
  readonly #window: Uint8Array;

  private constructor(exports: Crc64Exports) {
    exports.prepare();
    this.#update = exports.update;
    this.#window = new Uint8Array(exports.memory.buffer, WINDOW_OFFSET, WINDOW_BYTES);
  }

  /** Reads and compiles the WebAssembly beside this file. */
  static async load(): Promise<Crc64Nvme> {
    const bytes = await readFile(new URL('./crc64nvme.wasm', import.meta.url));
    const { WebAssembly } = globalThis as unknown as { readonly WebAssembly: WebAssemblyApi };
    const { instance } = await WebAssembly.instantiate(bytes);
    return new Crc64Nvme(instance.exports as Crc64Exports);
  }

  /** The checksum of what gave `previous`, followed by `data`. Start with 0n. */
  update(previous: bigint, data: Uint8Array): bigint {
    let register = previous ^ ALL_ONES;
    for (let at = 0; at < data.length; at += WINDOW_BYTES) {
      const piece = data.subarray(at, at + WINDOW_BYTES);
      this.#window.set(piece);
      register = BigInt.asUintN(64, this.#update(register, piece.length));
    }
    return register ^ ALL_ONES;
  }
}
