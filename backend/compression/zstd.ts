import { promisify } from 'node:util';
import { constants, zstdCompress, zstdDecompress } from 'node:zlib';

const compress = promisify(zstdCompress);
const decompress = promisify(zstdDecompress);

/** One zstd frame in memory, made on another thread: on this one it would hold up everybody for about a millisecond. */
export async function compressFrame(plain: Uint8Array, level: number): Promise<Buffer> {
  return compress(plain, {
    params: { [constants.ZSTD_c_compressionLevel]: level, [constants.ZSTD_c_contentSizeFlag]: 0 },
  });
}

/**
 * @param plainBytes what must come out: more is refused before it takes memory, less is refused as well.
 * @throws Error for what isn't that.
 */
export async function decompressFrame(compressed: Uint8Array, plainBytes: number): Promise<Buffer> {
  const plain = await decompress(compressed, { maxOutputLength: plainBytes });
  if (plain.length !== plainBytes) {
    throw new RangeError(`a frame of ${plainBytes} bytes came out with ${plain.length}`);
  }
  return plain;
}
