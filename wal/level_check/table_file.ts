import type { FileHandle } from 'node:fs/promises';
import { ByteReader } from '../byte_codec.ts';
import { maskedCrc } from './checksum.ts';
import { LevelDamagedError } from './damage.ts';
import { snappyDecompress } from './snappy.ts';

const footerBytes = 48;
const trailerBytes = 5;
const magic = 0xdb4775248b80fb57n;
const maxBlockBytes = 64 * 1024 * 1024;
const readBytes = 1024 * 1024;

interface BlockHandle {
  readonly offset: number;
  readonly size: number;
}

/**
 * Checks a table file (LevelDB's doc/table_format.md): every block's checksum, and that the blocks cover the file, so
 * that no byte but the footer's padding could change unnoticed. @throws LevelDamagedError, MalformedBytesError
 */
export async function checkTableFile(file: FileHandle, sizeBytes: number): Promise<void> {
  if (sizeBytes < footerBytes) throw new LevelDamagedError('a table file that is too short');
  const footer = await read(file, { offset: sizeBytes - footerBytes, size: footerBytes });
  if (footer.readBigUInt64LE(footerBytes - 8) !== magic) {
    throw new LevelDamagedError('a table file without its magic number');
  }
  const input = new ByteReader(footer);
  const metaindex = readHandle(input);
  const index = readHandle(input);
  if (endOf(metaindex) !== index.offset || endOf(index) !== sizeBytes - footerBytes) {
    throw new LevelDamagedError('a table file whose parts do not fit together');
  }
  const data = handlesOf(await readBlock(file, index));
  const meta = handlesOf(await readBlock(file, metaindex));
  let at = 0;
  for (const handle of [...data, ...meta]) {
    if (handle.offset !== at) throw new LevelDamagedError('a table file whose blocks do not fit together');
    at = endOf(handle);
  }
  if (at !== metaindex.offset) throw new LevelDamagedError('a table file with bytes that belong to no block');
  await checkBlocks(file, [...data, ...meta]);
}

/** Reads many blocks at once: they are a few KiB each. */
async function checkBlocks(file: FileHandle, blocks: readonly BlockHandle[]): Promise<void> {
  for (let first = 0; first < blocks.length;) {
    const { offset } = blocks[first] ?? { offset: 0 };
    let next = first + 1;
    while (next < blocks.length && endOf(blocks[next] ?? { offset, size: 0 }) - offset <= readBytes) next++;
    const bytes = await read(file, { offset, size: endOf(blocks[next - 1] ?? { offset, size: 0 }) - offset });
    for (const handle of blocks.slice(first, next)) {
      const from = handle.offset - offset;
      checkedBlock(bytes.subarray(from, from + handle.size + trailerBytes));
    }
    first = next;
  }
}

function endOf(handle: BlockHandle): number {
  return handle.offset + handle.size + trailerBytes;
}

function readHandle(input: ByteReader): BlockHandle {
  const offset = input.varint();
  return { offset, size: input.varint() };
}

/** A block's contents, decompressed. */
async function readBlock(file: FileHandle, handle: BlockHandle): Promise<Uint8Array> {
  return checkedBlock(await read(file, { offset: handle.offset, size: handle.size + trailerBytes }), true);
}

function checkedBlock(bytes: Buffer, decompress = false): Uint8Array {
  const size = bytes.length - trailerBytes;
  const contents = bytes.subarray(0, size);
  if (maskedCrc(bytes.subarray(0, size + 1)) !== bytes.readUInt32LE(size + 1)) {
    throw new LevelDamagedError('a block of a table file fails its checksum');
  }
  return decompress && bytes[size] === 1 ? snappyDecompress(contents) : contents;
}

/** The handles that a block of keys and handles names: those of an index, or of a metaindex. */
function handlesOf(block: Uint8Array): BlockHandle[] {
  const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
  const restarts = block.length < 4 ? 0 : view.getUint32(block.length - 4, true);
  const end = block.length - 4 * (restarts + 1);
  if (end < 0) throw new LevelDamagedError('an index block that is too short');
  const input = new ByteReader(block.subarray(0, end));
  const handles: BlockHandle[] = [];
  while (input.remaining > 0) {
    input.varint();
    const unsharedBytes = input.varint();
    const valueBytes = input.varint();
    input.raw(unsharedBytes);
    const value = new ByteReader(input.raw(valueBytes));
    handles.push(readHandle(value));
  }
  return handles;
}

async function read(file: FileHandle, place: BlockHandle): Promise<Buffer> {
  if (place.size > maxBlockBytes) throw new LevelDamagedError('a table file with a block of an absurd size');
  const bytes = Buffer.allocUnsafe(place.size);
  let length = 0;
  while (length < bytes.length) {
    const { bytesRead } = await file.read(bytes, length, bytes.length - length, place.offset + length);
    if (bytesRead === 0) throw new LevelDamagedError('a table file that ends early');
    length += bytesRead;
  }
  return bytes;
}
