import { tagBytes } from '../encryption/frame_cipher.ts';

/** Bytes of content in every frame but the last, for new content; what is there says its own. */
export const defaultFrameBytes = 128 * 1024;
/** What a row may say: a reader holds a few frames. */
export const maxFrameBytes = 8 * 1024 * 1024;

/** Frames that content of a size is cut into; none for empty content. */
export function frameCount(sizeBytes: number, frameBytes: number): number {
  return Math.ceil(sizeBytes / frameBytes);
}

/** Bytes of content in frame `number`. */
export function plainLength(
  number: number,
  content: { readonly sizeBytes: number; readonly frameBytes: number },
): number {
  return Math.min(content.frameBytes, content.sizeBytes - number * content.frameBytes);
}

/** Bytes that encrypted, uncompressed content takes in the data store. */
export function sealedBytes(sizeBytes: number, frameBytes: number): number {
  return sizeBytes + frameCount(sizeBytes, frameBytes) * tagBytes;
}
