import { Buffer } from 'node:buffer';
import type { ByteStream } from './driver.ts';
import { flagEnd, frameHeaderBytes, frameType, writeFrameHeader } from './frame.ts';
import { maxQueuedControlBytes } from './limits.ts';

const slabBytes = 64 * 1024;
/** Payloads below this are copied beside their frame's header: one write instead of two. */
const copyBelowBytes = 8 * 1024;

/** A body at the lane's disposal: the writer asks it for a piece when the stream has room. */
export interface DataSource {
  readonly id: number;
  /** The next piece, at most `maxBytes`; undefined: nothing can be sent now (it will call `ready` again). */
  take(maxBytes: number): { readonly chunk: Uint8Array; readonly last: boolean } | undefined;
}

interface LaneWriterOptions {
  readonly stream: ByteStream;
  /** More than the bound waits for a peer that doesn't read. */
  onOverflow(): void;
}

/**
 * The sending side of a lane. Small frames gather in a slab and leave together at the end of the turn; bodies take
 * turns, a frame each, and are asked only while the stream takes bytes. So what waits here is bounded: control frames
 * by `maxQueuedControlBytes`, data by one frame.
 */
export class LaneWriter {
  readonly #stream: ByteStream;
  readonly #onOverflow: () => void;
  #maxDataBytes = 0;
  /** Bytes from `#from` to `#to` of the slab wait; a slab is never written over, the stream may still hold it. */
  #slab = Buffer.allocUnsafeSlow(slabBytes);
  #from = 0;
  #to = 0;
  /** What waits before the slab's bytes. */
  #out: Uint8Array[] = [];
  #outBytes = 0;
  #ready: DataSource[] = [];
  #blocked = false;
  #scheduled = false;
  #closed = false;

  constructor(options: LaneWriterOptions) {
    this.#stream = options.stream;
    this.#onOverflow = () => options.onOverflow();
  }

  /** The largest DATA frame; set once the lane's kind is known. */
  set maxDataBytes(bytes: number) {
    this.#maxDataBytes = bytes;
  }

  /** Bytes that wait because the other side doesn't take them. */
  get queuedBytes(): number {
    return this.#outBytes + this.#to - this.#from;
  }

  /** Queues one frame; its payload is `parts` in order. They aren't copied if they are large, so leave them alone. */
  frame(
    type: number,
    options: { readonly flags?: number; readonly id?: number },
    ...parts: Uint8Array[]
  ): void {
    if (this.#closed) return;
    let length = 0;
    for (const part of parts) length += part.length;
    const offset = this.#reserve(frameHeaderBytes);
    writeFrameHeader(this.#slab, offset, { type, flags: options.flags ?? 0, id: options.id ?? 0, length });
    for (const part of parts) this.#append(part);
    if (this.queuedBytes > maxQueuedControlBytes) this.#onOverflow();
    this.#schedule();
  }

  credit(id: number, bytes: number): void {
    if (this.#closed) return;
    const offset = this.#reserve(frameHeaderBytes + 4);
    writeFrameHeader(this.#slab, offset, { type: frameType.credit, flags: 0, id, length: 4 });
    this.#slab.writeUInt32BE(bytes, offset + frameHeaderBytes);
    this.#schedule();
  }

  /** The source has something; it will be asked when its turn comes. */
  ready(source: DataSource): void {
    if (this.#closed) return;
    this.#ready.push(source);
    this.#schedule();
  }

  onDrain(): void {
    this.#blocked = false;
    this.#flush();
  }

  /** Writes what waits, as far as the stream takes it, then ends the stream. */
  end(): void {
    if (this.#closed) return;
    this.#seal();
    for (const chunk of this.#out) this.#stream.write(chunk);
    this.close();
    this.#stream.end();
  }

  /** Drops what waits. */
  close(): void {
    this.#closed = true;
    this.#out = [];
    this.#outBytes = 0;
    this.#from = this.#to;
    this.#ready = [];
  }

  #reserve(bytes: number): number {
    if (this.#slab.length - this.#to < bytes) {
      this.#seal();
      this.#slab = Buffer.allocUnsafeSlow(Math.max(slabBytes, bytes));
      this.#from = 0;
      this.#to = 0;
    }
    const offset = this.#to;
    this.#to += bytes;
    return offset;
  }

  #append(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    if (bytes.length >= copyBelowBytes) {
      this.#seal();
      this.#out.push(bytes);
      this.#outBytes += bytes.length;
      return;
    }
    const offset = this.#reserve(bytes.length);
    this.#slab.set(bytes, offset);
  }

  /** Moves the slab's waiting bytes behind what waits already. */
  #seal(): void {
    if (this.#to === this.#from) return;
    this.#out.push(this.#slab.subarray(this.#from, this.#to));
    this.#outBytes += this.#to - this.#from;
    this.#from = this.#to;
  }

  /** Behind everything else that this turn still does, so that its frames leave in one write. */
  #schedule(): void {
    if (this.#scheduled || this.#blocked) return;
    this.#scheduled = true;
    process.nextTick(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    while (!this.#blocked && !this.#closed) {
      this.#seal();
      if (this.#out.length > 0) this.#writeOut();
      else if (!this.#nextData()) return;
    }
  }

  #writeOut(): void {
    const out = this.#out;
    let written = 0;
    while (written < out.length && !this.#blocked) {
      const chunk = out[written++];
      if (chunk === undefined) break;
      this.#outBytes -= chunk.length;
      if (!this.#stream.write(chunk)) this.#blocked = true;
    }
    this.#out = written === out.length ? [] : out.slice(written);
  }

  /** One frame of the body whose turn it is. */
  #nextData(): boolean {
    const source = this.#ready.shift();
    if (source === undefined) return false;
    const piece = source.take(this.#maxDataBytes);
    if (piece === undefined) return true;
    const offset = this.#reserve(frameHeaderBytes);
    writeFrameHeader(this.#slab, offset, {
      type: frameType.data,
      flags: piece.last ? flagEnd : 0,
      id: source.id,
      length: piece.chunk.length,
    });
    this.#append(piece.chunk);
    return true;
  }
}
