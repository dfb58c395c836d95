import { createCipheriv, createDecipheriv } from 'node:crypto';
import { SealDamagedError } from './errors.ts';

/** What a sealed frame is longer than what is in it. */
export const tagBytes = 16;

const version = 1;
const contentIdBytes = 32;
const numberAt = 1 + contentIdBytes;
const flagsAt = numberAt + 8;
const lastFlag = 1;
const compressedFlag = 2;
const tableFlag = 4;

/** Which frame it is, and what: all of it is authenticated with the frame's bytes. */
export interface FramePlace {
  readonly number: number;
  readonly last: boolean;
  readonly compressed: boolean;
  /** The table of frame lengths, which follows the last frame. */
  readonly table?: boolean;
}

/**
 * AES-256-GCM, frame by frame, under a data key that seals one content and nothing else: a frame's number is its
 * nonce. A frame that was flipped, cut, moved, or taken from other content doesn't open.
 */
export class FrameCipher {
  readonly #dataKey: Uint8Array;
  readonly #nonce = Buffer.alloc(12);
  readonly #additional = Buffer.alloc(flagsAt + 1);

  constructor(dataKey: Uint8Array, contentId: Uint8Array) {
    if (contentId.length !== contentIdBytes) throw new RangeError('a content id has 32 bytes');
    this.#dataKey = dataKey;
    this.#additional[0] = version;
    this.#additional.set(contentId, 1);
  }

  /** Ciphertext and tag. */
  seal(plain: Uint8Array, place: FramePlace): readonly [Buffer, Buffer] {
    this.#aim(place);
    const cipher = createCipheriv('aes-256-gcm', this.#dataKey, this.#nonce);
    cipher.setAAD(this.#additional);
    const sealed = cipher.update(plain);
    cipher.final();
    return [sealed, cipher.getAuthTag()];
  }

  /**
   * The frame's bytes, once its tag has been checked.
   * @param sealed ciphertext and tag, in pieces.
   * @throws SealDamagedError
   */
  open(sealed: readonly Uint8Array[], place: FramePlace): Buffer[] {
    const { pieces, tag } = splitTag(sealed);
    this.#aim(place);
    const decipher = createDecipheriv('aes-256-gcm', this.#dataKey, this.#nonce);
    decipher.setAAD(this.#additional);
    decipher.setAuthTag(tag);
    const plain = pieces.map((piece) => decipher.update(piece));
    try {
      decipher.final();
    } catch (cause) {
      throw new SealDamagedError(`frame ${place.number} of the content fails its tag`, { cause });
    }
    return plain;
  }

  #aim(place: FramePlace): void {
    const { number, last, compressed, table = false } = place;
    this.#nonce.writeUInt32BE(table ? tableFlag : 0, 0);
    this.#nonce.writeBigUInt64BE(BigInt(number), 4);
    this.#additional.writeBigUInt64BE(BigInt(number), numberAt);
    this.#additional[flagsAt] =
      (last ? lastFlag : 0) | (compressed ? compressedFlag : 0) | (table ? tableFlag : 0);
  }
}

/** The last 16 bytes of the pieces, and what stands before them. */
function splitTag(sealed: readonly Uint8Array[]): {
  readonly pieces: Uint8Array[];
  readonly tag: Uint8Array;
} {
  const pieces = [...sealed];
  const tag = new Uint8Array(tagBytes);
  for (let missing = tagBytes; missing > 0;) {
    const last = pieces.pop();
    if (last === undefined) throw new SealDamagedError('a frame of the content is shorter than its tag');
    const taken = Math.min(last.length, missing);
    tag.set(last.subarray(last.length - taken), missing - taken);
    missing -= taken;
    if (taken < last.length) pieces.push(last.subarray(0, last.length - taken));
  }
  return { pieces, tag };
}
