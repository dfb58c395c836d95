import assert from 'node:assert/strict';

import type { Pieces } from './erasure/codec.ts';

/** How content is cut; recorded in its locator and never changed. FORMAT.md gives the layout. */
export interface Geometry {
  readonly sizeBytes: number;
  readonly data: number;
  readonly parity: number;
  /** Length of a block of every stripe but the last. */
  readonly blockSizeBytes: number;
}

const usualBlockBytes = 256 * 1024;
const bigBlockBytes = 512 * 1024;
/** From this size on content takes big blocks. */
const bigContentBytes = 64 * 1024 * 1024;
/** Bounds what a request holds where K is big. */
const maxStripeBytes = 8 * 1024 * 1024;
const blockStepBytes = 4096;

/** The block length for content of `sizeBytes` (undefined: not known beforehand) under a code of `data` data blocks. */
export function chooseBlockSize(data: number, sizeBytes: number | undefined): number {
  const most = Math.floor(maxStripeBytes / data / blockStepBytes) * blockStepBytes;
  return Math.min(
    most,
    sizeBytes !== undefined && sizeBytes >= bigContentBytes ? bigBlockBytes : usualBlockBytes,
  );
}

/** Bytes of content in every stripe but the last. */
export function stripeBytes(geometry: Geometry): number {
  return geometry.data * geometry.blockSizeBytes;
}

/** How many stripes there are; none for empty content. */
export function stripeCount(geometry: Geometry): number {
  return Math.ceil(geometry.sizeBytes / stripeBytes(geometry));
}

/** Length of each block of stripe `stripe`. */
export function blockLength(geometry: Geometry, stripe: number): number {
  const before = stripe * stripeBytes(geometry);
  assert(stripe >= 0 && before < geometry.sizeBytes, `stripe ${stripe} is past the end`);
  return Math.min(geometry.blockSizeBytes, Math.ceil((geometry.sizeBytes - before) / geometry.data));
}

/** Length of each shard. */
export function shardLength(geometry: Geometry): number {
  const count = stripeCount(geometry);
  return count === 0 ? 0 : (count - 1) * geometry.blockSizeBytes + blockLength(geometry, count - 1);
}

/** What of one stripe a range of content touches. */
export interface StripePart {
  readonly stripe: number;
  /** The range within the stripe's content bytes, `from` to `to - 1`. */
  readonly from: number;
  readonly to: number;
  readonly blockBytes: number;
  /** Data blocks that hold some of the range: `firstBlock` to `lastBlock`. */
  readonly firstBlock: number;
  readonly lastBlock: number;
  /**
   * The bytes of each block that are needed, `low` to `high - 1`: the same for every block of the stripe, so that
   * the cuts of any K blocks give back the others'.
   */
  readonly low: number;
  readonly high: number;
}

/** The part of stripe `stripe` that lies in `offset` to `offset + lengthBytes - 1`; they must overlap. */
export function stripePart(
  geometry: Geometry,
  at: { readonly stripe: number; readonly offset: number; readonly lengthBytes: number },
): StripePart {
  const start = at.stripe * stripeBytes(geometry);
  const blockBytes = blockLength(geometry, at.stripe);
  const end = Math.min(start + stripeBytes(geometry), geometry.sizeBytes);
  const from = Math.max(at.offset - start, 0);
  const to = Math.min(at.offset + at.lengthBytes, end) - start;
  assert(from < to, `stripe ${at.stripe} holds nothing of the range`);
  const firstBlock = Math.floor(from / blockBytes);
  const lastBlock = Math.floor((to - 1) / blockBytes);
  const one = firstBlock === lastBlock;
  // A run over several blocks takes whole blocks: its tail in one and its head in another rarely meet.
  const low = one ? from - firstBlock * blockBytes : 0;
  const high = one ? to - lastBlock * blockBytes : blockBytes;
  return { stripe: at.stripe, from, to, blockBytes, firstBlock, lastBlock, low, high };
}

/** A stripe of content on its way in. */
export interface Stripe {
  readonly number: number;
  /** K blocks; all but the last ones are full, and what they lack is zeros. */
  readonly blocks: readonly Pieces[];
  readonly blockBytes: number;
  readonly contentBytes: number;
}

/** The first allocation for content of unknown size; it grows as the content does. */
const firstAllocationBytes = 64 * 1024;

/**
 * Cuts content into stripes. Chunks are copied, once: their source may use them again, and a stripe lives until the
 * last node has taken it.
 */
export class StripeCutter {
  readonly #data: number;
  readonly #blockSizeBytes: number;
  /** Content that is still to come, as far as it was announced. */
  #expectedBytes: number;
  readonly #allocate: (sizeBytes: number) => Buffer;
  #buffer: Buffer = Buffer.alloc(0);
  #filled = 0;
  #number = 0;

  constructor(options: {
    readonly data: number;
    readonly blockSizeBytes: number;
    /** What the content announces to be; decides only how much is allocated. */
    readonly sizeBytes?: number | undefined;
    /** Where stripes are gathered: a buffer of just so many bytes, with a memory of its own. */
    readonly allocate?: (sizeBytes: number) => Buffer;
  }) {
    this.#allocate = options.allocate ?? ((sizeBytes) => Buffer.allocUnsafeSlow(sizeBytes));
    this.#data = options.data;
    this.#blockSizeBytes = options.blockSizeBytes;
    this.#expectedBytes = options.sizeBytes ?? firstAllocationBytes;
  }

  /** The stripes that the chunk completes. */
  *push(chunk: Uint8Array): Generator<Stripe, void, undefined> {
    const full = this.#data * this.#blockSizeBytes;
    for (let at = 0; at < chunk.byteLength;) {
      const count = Math.min(chunk.byteLength - at, full - this.#filled);
      this.#reserve(this.#filled + count);
      this.#buffer.set(chunk.subarray(at, at + count), this.#filled);
      this.#filled += count;
      at += count;
      if (this.#filled === full) yield this.#take(this.#blockSizeBytes);
    }
  }

  /** The last stripe, if something is left for it. */
  finish(): Stripe | undefined {
    return this.#filled === 0 ? undefined : this.#take(Math.ceil(this.#filled / this.#data));
  }

  #reserve(sizeBytes: number): void {
    if (sizeBytes <= this.#buffer.byteLength) return;
    const full = this.#data * this.#blockSizeBytes;
    const wished = Math.max(
      sizeBytes,
      this.#filled === 0 ? this.#expectedBytes : 2 * this.#buffer.byteLength,
    );
    const grown = this.#allocate(Math.min(wished, full));
    grown.set(this.#buffer.subarray(0, this.#filled));
    this.#buffer = grown;
  }

  #take(blockBytes: number): Stripe {
    const content = this.#buffer.subarray(0, this.#filled);
    const blocks = Array.from({ length: this.#data }, (_, block) => {
      const bytes = content.subarray(block * blockBytes, (block + 1) * blockBytes);
      return bytes.byteLength === 0 ? [] : [bytes];
    });
    const stripe = { number: this.#number, blocks, blockBytes, contentBytes: this.#filled };
    this.#number += 1;
    this.#expectedBytes = Math.max(this.#expectedBytes - this.#filled, firstAllocationBytes);
    this.#buffer = Buffer.alloc(0);
    this.#filled = 0;
    return stripe;
  }
}
