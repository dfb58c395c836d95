import { crc32c } from '@node-rs/crc32';

/** LevelDB's form of a CRC-32C: rotated and offset, so that a checksum of checksums stays a good one. */
export function maskedCrc(...pieces: readonly Uint8Array[]): number {
  let crc = 0;
  for (const piece of pieces) crc = crc32c(piece, crc);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}
