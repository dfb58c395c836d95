import type { FileHandle } from 'node:fs/promises';
import { crc32c } from '@node-rs/crc32';
import { ContentDamagedError } from '../data_store.ts';

/**
 * Layout of a content file: blocks of `blockBytes` of content (the last may be shorter), each followed by four bytes,
 * little endian: CRC-32C over content id, block number (8 bytes, little endian) and the block. A block that was
 * flipped, or belongs to another file or place, doesn't verify. The size of the content is in the locator.
 */
const CRC_BYTES = 4;
export const defaultBlockBytes = 64 * 1024;
/** What one disk operation moves at most; a reader holds at most two of them. */
const runBytes = 1024 * 1024;

interface BlockFileShape {
  readonly contentId: Uint8Array;
  readonly blockBytes: number;
}

/** Bytes of the file that holds so many bytes of content. */
function fileBytesOf(contentBytes: number, blockBytes: number): number {
  return contentBytes + Math.ceil(contentBytes / blockBytes) * CRC_BYTES;
}

/** Writes the content from the beginning of the file; the caller makes it durable. Answers its size. */
export async function writeBlocks(
  file: FileHandle,
  body: AsyncIterable<Uint8Array>,
  options: BlockFileShape & {
    readonly sizeBytes?: number | undefined;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<number> {
  const writer = new BlockWriter(file, options);
  for await (const piece of body) {
    options.signal?.throwIfAborted();
    await writer.add(piece);
  }
  options.signal?.throwIfAborted();
  return writer.end();
}

class BlockWriter {
  readonly #file: FileHandle;
  readonly #shape: BlockFileShape;
  #buffer: Buffer;
  readonly #seed: BlockSeed;
  #filled = 0;
  #blockStart = 0;
  #block = 0;
  #fileBytes = 0;
  #contentBytes = 0;

  constructor(file: FileHandle, shape: BlockFileShape & { readonly sizeBytes?: number | undefined }) {
    this.#file = file;
    this.#shape = shape;
    // Most objects are small: what they are said to need is enough.
    const announcedBytes = fileBytesOf(shape.sizeBytes ?? runBytes, shape.blockBytes);
    this.#buffer = Buffer.allocUnsafe(Math.min(announcedBytes, fullBufferBytes(shape.blockBytes)));
    this.#seed = new BlockSeed(shape.contentId);
  }

  async add(piece: Uint8Array): Promise<void> {
    for (let at = 0; at < piece.length;) {
      const room = this.#shape.blockBytes - (this.#filled - this.#blockStart);
      const part = piece.subarray(at, at + room);
      this.#makeRoom(part.length + CRC_BYTES);
      this.#buffer.set(part, this.#filled);
      this.#filled += part.length;
      at += part.length;
      if (part.length === room) await this.#endBlock();
    }
    this.#contentBytes += piece.length;
  }

  async end(): Promise<number> {
    if (this.#filled > this.#blockStart) await this.#endBlock();
    await this.#flush();
    return this.#contentBytes;
  }

  /** The body is longer than it was said to be. */
  #makeRoom(bytes: number): void {
    if (this.#filled + bytes <= this.#buffer.length) return;
    const full = Buffer.allocUnsafe(fullBufferBytes(this.#shape.blockBytes));
    this.#buffer.copy(full, 0, 0, this.#filled);
    this.#buffer = full;
  }

  async #endBlock(): Promise<void> {
    const block = this.#buffer.subarray(this.#blockStart, this.#filled);
    this.#buffer.writeUInt32LE(crc32c(block, this.#seed.of(this.#block)), this.#filled);
    this.#block++;
    this.#filled += CRC_BYTES;
    this.#blockStart = this.#filled;
    if (this.#filled + this.#shape.blockBytes + CRC_BYTES > this.#buffer.length) await this.#flush();
  }

  async #flush(): Promise<void> {
    await writeFully(this.#file, this.#buffer.subarray(0, this.#filled), this.#fileBytes);
    this.#fileBytes += this.#filled;
    this.#filled = 0;
    this.#blockStart = 0;
  }
}

/** Whole blocks, about as much as one disk operation moves. */
function fullBufferBytes(blockBytes: number): number {
  const stride = blockBytes + CRC_BYTES;
  return Math.max(1, Math.floor(runBytes / stride)) * stride;
}

interface BlockRange {
  readonly offset: number;
  readonly lengthBytes: number;
  readonly contentBytes: number;
}

/** Yields the bytes of a range, each block verified first. @throws ContentDamagedError */
export async function* readBlocks(
  file: FileHandle,
  shape: BlockFileShape,
  range: BlockRange & { readonly signal?: AbortSignal | undefined },
): AsyncGenerator<Uint8Array> {
  const { blockBytes } = shape;
  const stride = blockBytes + CRC_BYTES;
  const end = range.offset + range.lengthBytes;
  const lastBlock = Math.ceil(end / blockBytes);
  const blocksPerRun = Math.max(1, Math.floor(runBytes / stride));
  const seed = new BlockSeed(shape.contentId);
  const fileBytes = fileBytesOf(range.contentBytes, blockBytes);
  for (let block = Math.floor(range.offset / blockBytes); block < lastBlock; block += blocksPerRun) {
    range.signal?.throwIfAborted();
    const from = block * stride;
    const to = Math.min(Math.min(block + blocksPerRun, lastBlock) * stride, fileBytes);
    const run = await readFully(file, from, to - from);
    for (let i = 0; i * stride < run.length; i++) {
      const stored = run.subarray(i * stride, Math.min((i + 1) * stride, run.length));
      const content = verified(stored, seed.of(block + i));
      const start = (block + i) * blockBytes;
      yield content.subarray(Math.max(0, range.offset - start), Math.min(content.length, end - start));
    }
  }
}

function verified(stored: Buffer, seed: number): Buffer {
  const content = stored.subarray(0, stored.length - CRC_BYTES);
  if (crc32c(content, seed) !== stored.readUInt32LE(content.length)) {
    throw new ContentDamagedError('a block of the content fails its checksum');
  }
  return content;
}

/** The CRC that a block's own goes on from: over content id and block number. */
class BlockSeed {
  readonly #idCrc: number;
  readonly #number = Buffer.alloc(8);

  constructor(contentId: Uint8Array) {
    this.#idCrc = crc32c(contentId);
  }

  of(block: number): number {
    this.#number.writeBigUInt64LE(BigInt(block));
    return crc32c(this.#number, this.#idCrc);
  }
}

async function writeFully(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, at, bytes.length - at, position + at);
    at += bytesWritten;
  }
}

async function readFully(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(length);
  for (let at = 0; at < length;) {
    const { bytesRead } = await file.read(buffer, at, length - at, position + at);
    if (bytesRead === 0) throw new ContentDamagedError('the content file is shorter than its content');
    at += bytesRead;
  }
  return buffer;
}
