import type { Compressor } from '../compression/compressor.ts';
import type { FrameCipher } from '../encryption/frame_cipher.ts';
import { encodeLengths, fitsIntoRow } from './frame_table.ts';
import { frameCount } from './geometry.ts';
import type { SealedRow } from './sealed_row.ts';

interface FrameWriterOptions {
  readonly frameBytes: number;
  /** Present: frames are encrypted. */
  readonly cipher?: FrameCipher | undefined;
  /** Present: frames that are worth it are compressed first. */
  readonly compressor?: Compressor | undefined;
  /** The content's size, where it is known: the body then has neither more nor less. */
  readonly sizeBytes?: number | undefined;
}

/** Cuts content into frames on its way to the data store. Holds one frame, and what was made of it. */
export class FrameWriter {
  readonly #options: FrameWriterOptions;
  readonly #lengths: number[] = [];
  #buffer: Buffer | undefined;
  #filled = 0;
  #contentBytes = 0;
  #storedBytes = 0;
  #anyCompressed = false;
  #ended: SealedRow | undefined;

  constructor(options: FrameWriterOptions) {
    this.#options = options;
  }

  /** Bytes of content that have come in. */
  get contentBytes(): number {
    return this.#contentBytes;
  }

  /** How the content was stored; only after `pass` has ended. */
  get row(): SealedRow {
    if (this.#ended === undefined) throw new Error('the content was not read to its end');
    return this.#ended;
  }

  /** What is to be stored, for a body that is read once. */
  async *pass(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    const { frameBytes } = this.#options;
    for await (const piece of body) {
      this.#contentBytes += piece.length;
      for (let at = 0; at < piece.length;) {
        // A full frame is held back until it is known whether it is the last.
        if (this.#filled === frameBytes) yield* this.#emit(this.#takeBuffer(), false);
        const part = piece.subarray(at, at + frameBytes - this.#filled);
        at += part.length;
        if (part.length === frameBytes && this.#knownNotLast()) yield* this.#emit(part, false);
        else this.#keep(part);
      }
    }
    if (this.#filled > 0) yield* this.#emit(this.#takeBuffer(), true);
    const { sizeBytes } = this.#options;
    if (sizeBytes !== undefined && sizeBytes !== this.#contentBytes) {
      throw new Error(`a body of ${this.#contentBytes} bytes was announced with ${sizeBytes}`);
    }
    yield* this.#end();
  }

  /** Whether the frame to come is one that others follow. */
  #knownNotLast(): boolean {
    const { sizeBytes, frameBytes } = this.#options;
    return sizeBytes !== undefined && this.#lengths.length + 1 < frameCount(sizeBytes, frameBytes);
  }

  #keep(part: Uint8Array): void {
    const { frameBytes, sizeBytes } = this.#options;
    if (this.#buffer === undefined || this.#buffer.length < this.#filled + part.length) {
      const expected = sizeBytes === undefined ? frameBytes : Math.min(sizeBytes, frameBytes);
      const buffer = Buffer.allocUnsafe(Math.max(expected, this.#filled + part.length));
      if (this.#buffer !== undefined) this.#buffer.copy(buffer, 0, 0, this.#filled);
      this.#buffer = buffer;
    }
    this.#buffer.set(part, this.#filled);
    this.#filled += part.length;
  }

  #takeBuffer(): Buffer {
    const frame = (this.#buffer ?? Buffer.alloc(0)).subarray(0, this.#filled);
    this.#filled = 0;
    // Encrypting leaves the plain frame free for the next one; what is stored as it is goes away with it.
    if (this.#options.cipher === undefined) this.#buffer = undefined;
    return frame;
  }

  async *#emit(frame: Uint8Array, last: boolean): AsyncGenerator<Uint8Array> {
    const { cipher, compressor } = this.#options;
    const shrunk = await compressor?.shrink(frame);
    const bytes = shrunk ?? frame;
    const compressed = shrunk !== undefined;
    if (compressed) this.#anyCompressed = true;
    const number = this.#lengths.length;
    const pieces = cipher === undefined ? [bytes] : cipher.seal(bytes, { number, last, compressed });
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
    this.#lengths.push(length);
    this.#storedBytes += length;
    yield* pieces;
  }

  /** The table, where frames differ in length and are many. */
  async *#end(): AsyncGenerator<Uint8Array> {
    const { frameBytes, cipher } = this.#options;
    const row = { frameBytes, storedBytes: this.#storedBytes };
    if (!this.#anyCompressed) {
      this.#ended = row;
      return;
    }
    const lengths = encodeLengths(this.#lengths);
    if (fitsIntoRow(this.#lengths.length)) {
      this.#ended = { ...row, table: { lengths } };
      return;
    }
    const place = { number: this.#lengths.length, last: true, compressed: false, table: true };
    const pieces = cipher === undefined ? [lengths] : cipher.seal(lengths, place);
    const storedBytes = pieces.reduce((sum, piece) => sum + piece.length, 0);
    this.#ended = { ...row, storedBytes: row.storedBytes + storedBytes, table: { storedBytes } };
    yield* pieces;
  }
}
