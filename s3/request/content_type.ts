import { fileTypeFromBuffer } from 'file-type';
import mime from 'mime';
import { defaultContentType } from './metadata.ts';

/** The type that a key's extension stands for, or S3's default. */
export function typeOfKey(key: string): string {
  return mime.getType(key) ?? defaultContentType;
}

/** As much of the content as its type is guessed from. */
const sniffBytes = 4096;

/**
 * Guesses the type of content that came without one: from its first bytes, else the key's extension, else S3's
 * default. The bytes looked at come out of the returned stream again, no more than 4 KiB (and the rest of the piece
 * that holds their last) are held back.
 */
export async function sniffContentType(
  stream: AsyncIterable<Uint8Array>,
  key: string,
): Promise<{ readonly contentType: string; readonly stream: AsyncIterable<Uint8Array> }> {
  const iterator = stream[Symbol.asyncIterator]();
  const held: Uint8Array[] = [];
  let heldBytes = 0;
  let ended = false;
  while (heldBytes < sniffBytes) {
    const result = await iterator.next();
    if (result.done === true) {
      ended = true;
      break;
    }
    held.push(result.value);
    heldBytes += result.value.length;
  }
  const head = held.length === 1 && held[0] !== undefined ? held[0] : Buffer.concat(held);
  const detected = heldBytes === 0 ? undefined : await fileTypeFromBuffer(head.subarray(0, sniffBytes));
  return { contentType: detected?.mime ?? typeOfKey(key), stream: replay({ held, iterator, ended }) };
}

async function* replay(read: {
  readonly held: Uint8Array[];
  readonly iterator: AsyncIterator<Uint8Array>;
  readonly ended: boolean;
}): AsyncGenerator<Uint8Array> {
  let exhausted = read.ended;
  try {
    yield* read.held.splice(0);
    while (!exhausted) {
      const result = await read.iterator.next();
      if (result.done === true) exhausted = true;
      else yield result.value;
    }
  } catch (error) {
    exhausted = true;
    throw error;
  } finally {
    if (!exhausted) await read.iterator.return?.();
  }
}
