/**
 * The byte forms shared by commands, messages and records: unsigned LEB128 integers up to 2^53 - 1, byte strings
 * with their length before them, text of at most 255 Latin-1 bytes, 48-bit big-endian times.
 */

/** Bytes that end early, or hold a number or length that can't be. */
export class MalformedBytesError extends Error {
  override readonly name = 'MalformedBytesError';
}

export class ByteWriter {
  #buffer: Buffer;
  #length = 0;

  constructor(sizeHintBytes = 64) {
    this.#buffer = Buffer.allocUnsafeSlow(Math.max(sizeHintBytes, 16));
  }

  get lengthBytes(): number {
    return this.#length;
  }

  u8(value: number): void {
    this.#reserve(1);
    this.#buffer[this.#length++] = value;
  }

  u48(value: number): void {
    this.#reserve(6);
    this.#length = this.#buffer.writeUIntBE(value, this.#length, 6);
  }

  u64(value: bigint): void {
    this.#reserve(8);
    this.#length = this.#buffer.writeBigUInt64BE(value, this.#length);
  }

  varint(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`not an unsigned integer: ${value}`);
    this.#reserve(8);
    let rest = value;
    while (rest >= 0x80) {
      this.#buffer[this.#length++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#buffer[this.#length++] = rest;
  }

  /** Without a length: the reader must know it. */
  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#buffer.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  bytes(bytes: Uint8Array): void {
    this.varint(bytes.length);
    this.raw(bytes);
  }

  text(text: string): void {
    if (text.length > 255) throw new RangeError(`text of ${text.length} characters`);
    this.u8(text.length);
    this.#reserve(text.length);
    this.#length += this.#buffer.write(text, this.#length, 'latin1');
  }

  /** The writer's own memory: write no more after this. */
  finish(): Uint8Array {
    return new Uint8Array(this.#buffer.buffer, this.#buffer.byteOffset, this.#length);
  }

  #reserve(bytes: number): void {
    const needed = this.#length + bytes;
    if (needed <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.#buffer.length * 2));
    grown.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = grown;
  }
}

/** Gives views of the bytes it reads, not copies. Every method throws MalformedBytesError at an early end. */
export class ByteReader {
  readonly #bytes: Buffer;
  #at: number;

  constructor(bytes: Uint8Array, at = 0) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = at;
  }

  get position(): number {
    return this.#at;
  }

  get remaining(): number {
    return this.#bytes.length - this.#at;
  }

  u8(): number {
    const value = this.#bytes[this.#at];
    if (value === undefined) throw new MalformedBytesError('the bytes end early');
    this.#at++;
    return value;
  }

  u48(): number {
    const at = this.#take(6);
    return this.#bytes.readUIntBE(at, 6);
  }

  u64(): bigint {
    const at = this.#take(8);
    return this.#bytes.readBigUInt64BE(at);
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 8; i++) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (!Number.isSafeInteger(value)) break;
        return value;
      }
      scale *= 0x80;
    }
    throw new MalformedBytesError('a number is too large');
  }

  raw(length: number): Uint8Array {
    const at = this.#take(length);
    return new Uint8Array(this.#bytes.buffer, this.#bytes.byteOffset + at, length);
  }

  bytes(): Uint8Array {
    return this.raw(this.varint());
  }

  text(): string {
    const length = this.u8();
    const at = this.#take(length);
    return this.#bytes.toString('latin1', at, at + length);
  }

  /** @throws MalformedBytesError when bytes are left over. */
  end(): void {
    if (this.remaining !== 0) throw new MalformedBytesError(`${this.remaining} bytes too many`);
  }

  #take(length: number): number {
    if (this.remaining < length) throw new MalformedBytesError('the bytes end early');
    const at = this.#at;
    this.#at += length;
    return at;
  }
}
