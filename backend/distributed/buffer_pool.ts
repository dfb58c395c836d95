/** Smaller buffers cost less than looking after them. */
const minPooledBytes = 64 * 1024;
const maxHeldBytes = 64 * 1024 * 1024;

/**
 * Buffers of writes that are over, for the next ones: fresh memory of a stripe's size costs more (the kernel zeroes
 * its pages one fault at a time) than copying the stripe into it. A buffer may be given back only when nobody can
 * read it any more.
 */
export class BufferPool {
  readonly #free = new Map<number, Buffer[]>();
  #heldBytes = 0;

  /** A buffer of just this size; what is in it is undefined. */
  take(sizeBytes: number): Buffer {
    const buffer = this.#free.get(sizeBytes)?.pop();
    if (buffer === undefined) return Buffer.allocUnsafeSlow(sizeBytes);
    this.#heldBytes -= sizeBytes;
    return buffer;
  }

  /** Takes back what a buffer that `take` gave lies in. */
  give(memory: ArrayBufferLike): void {
    const buffer = Buffer.from(memory);
    const sizeBytes = buffer.byteLength;
    if (sizeBytes < minPooledBytes || this.#heldBytes + sizeBytes > maxHeldBytes) return;
    let free = this.#free.get(sizeBytes);
    if (free === undefined) this.#free.set(sizeBytes, (free = []));
    free.push(buffer);
    this.#heldBytes += sizeBytes;
    // Sizes that are not asked for any more must not fill the pool.
    if (this.#heldBytes > maxHeldBytes / 2 && this.#free.size > 8) this.#forget();
  }

  #forget(): void {
    this.#free.clear();
    this.#heldBytes = 0;
  }
}
