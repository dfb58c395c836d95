import assert from 'node:assert/strict';

import type { Pieces } from './erasure/codec.ts';
import { slicePieces } from './erasure/pieces.ts';

/** How content is cut; recorded in its locator and never changed. FORMAT.md gives the layout. */
export interface Geometry {
  readonly sizeBytes: number;
  readonly data: number;
  readonly parity: number;
  /** Length of a block of every stripe but the last. */
  readonly blockSizeBytes: number;
}

const usualBlockBytes = 256 * 1024;
const bigBlockBytes = 1024 * 1024;
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

/** Chunks below this are gathered, so that a body of single bytes does not become a list of single bytes. */
const tinyChunkBytes = 8 * 1024;
const gatherBytes = 64 * 1024;

/**
 * Cuts content into stripes without copying, except for tiny chunks. Chunks must not be changed by who made them.
 */
export class StripeCutter {
  readonly #data: number;
  readonly #blockSizeBytes: number;
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  #number = 0;
  #gather = new Uint8Array(0);
  #gathered = 0;
  /** Where the last pending piece begins in `#gather`, if it lies there. */
  #tailStart = -1;

  constructor(options: { readonly data: number; readonly blockSizeBytes: number }) {
    this.#data = options.data;
    this.#blockSizeBytes = options.blockSizeBytes;
  }

  /** The stripes that the chunk completes. */
  *push(chunk: Uint8Array): Generator<Stripe, void, undefined> {
    const full = this.#data * this.#blockSizeBytes;
    let rest = chunk;
    while (rest.byteLength > 0) {
      const count = Math.min(rest.byteLength, full - this.#pendingBytes);
      this.#keep(rest.subarray(0, count));
      rest = rest.subarray(count);
      if (this.#pendingBytes === full) yield this.#take(this.#blockSizeBytes);
    }
  }

  /** The last stripe, if something is left for it. */
  finish(): Stripe | undefined {
    return this.#pendingBytes === 0 ? undefined : this.#take(Math.ceil(this.#pendingBytes / this.#data));
  }

  #keep(piece: Uint8Array): void {
    this.#pendingBytes += piece.byteLength;
    if (piece.byteLength >= tinyChunkBytes) {
      this.#pending.push(piece);
      this.#tailStart = -1;
      return;
    }
    if (this.#gather.byteLength - this.#gathered < piece.byteLength) {
      this.#gather = Buffer.allocUnsafeSlow(gatherBytes);
      this.#gathered = 0;
      this.#tailStart = -1;
    }
    this.#gather.set(piece, this.#gathered);
    if (this.#tailStart >= 0) this.#pending.pop();
    else this.#tailStart = this.#gathered;
    this.#gathered += piece.byteLength;
    this.#pending.push(this.#gather.subarray(this.#tailStart, this.#gathered));
  }

  #take(blockBytes: number): Stripe {
    const pending = this.#pending;
    const blocks = Array.from({ length: this.#data }, (_, block) =>
      slicePieces(pending, { from: block * blockBytes, to: (block + 1) * blockBytes }),
    );
    const stripe = { number: this.#number, blocks, blockBytes, contentBytes: this.#pendingBytes };
    this.#number += 1;
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#tailStart = -1;
    return stripe;
  }
}
