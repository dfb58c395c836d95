import { compressFrame } from './zstd.ts';

/** Below this there is next to nothing to win. */
const minFrameBytes = 256;
/** What compression must save of a frame to be kept: reading it costs time as well. */
const leastSaving = 1 / 16;
/** After so many frames in a row that didn't shrink, the rest of the content isn't tried. */
const patience = 4;

/**
 * Compresses the frames of one content that are worth it. Content whose first frame doesn't shrink is taken for
 * compressed already.
 */
export class Compressor {
  readonly #level: number;
  #inVain = 0;
  #everShrank = false;

  constructor(level: number) {
    this.#level = level;
  }

  /** The frame compressed, or undefined where it is to be kept as it is. */
  async shrink(frame: Uint8Array): Promise<Uint8Array | undefined> {
    if (frame.length < minFrameBytes || this.#gaveUp()) return undefined;
    const compressed = await compressFrame(frame, this.#level);
    if (compressed.length <= frame.length * (1 - leastSaving)) {
      this.#everShrank = true;
      this.#inVain = 0;
      return compressed;
    }
    this.#inVain++;
    return undefined;
  }

  #gaveUp(): boolean {
    return this.#inVain >= (this.#everShrank ? patience : 1);
  }
}
