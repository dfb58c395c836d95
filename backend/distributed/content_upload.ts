import type { ContentId } from '../data_store.ts';
import type { ContentWriter, StoredShards } from './content_writer.ts';
import type { EpochUse } from './epochs.ts';
import type { ContentLayout } from './locator.ts';
import type { ShardNode } from './ports.ts';
import { chooseBlockSize, StripeCutter } from './stripes.ts';
import type { Stripe } from './stripes.ts';
import { abortReason, Interruptible } from './waiting.ts';

interface ContentUploadOptions {
  readonly id: ContentId;
  readonly data: number;
  readonly parity: number;
  readonly sizeBytes: number | undefined;
  readonly signal: AbortSignal | undefined;
  readonly allocate: (sizeBytes: number) => Buffer;
  /** Chooses nodes and an epoch; called when the first stripe is there, so that a slow client holds neither before. */
  readonly begin: (
    onFail: (error: Error) => void,
  ) => Promise<{ readonly writer: ContentWriter; readonly use: EpochUse }>;
}

/** What came of an upload. */
interface UploadedContent {
  readonly layout: ContentLayout;
  readonly missing: readonly number[];
  /** None for empty content, which has no shards. */
  readonly use: EpochUse | undefined;
}

/** One write from its body's first chunk to its last durable shard. */
export class ContentUpload {
  readonly #options: ContentUploadOptions;
  readonly #interruptible = new Interruptible();
  #begun: { readonly writer: ContentWriter; readonly use: EpochUse } | undefined;
  #blockSizeBytes = 0;
  #failed = false;

  constructor(options: ContentUploadOptions) {
    this.#options = options;
  }

  /** Whether `run` rejected. */
  get failed(): boolean {
    return this.#failed;
  }

  /** Rejects when the body does, the signal aborts or the nodes fail, whichever comes first. */
  async run(body: AsyncIterable<Uint8Array>): Promise<UploadedContent> {
    const { signal } = this.#options;
    const onAbort = (): void => {
      if (signal !== undefined) this.#interruptible.interrupt(abortReason(signal));
    };
    signal?.addEventListener('abort', onAbort);
    if (signal?.aborted === true) onAbort();
    const iterator = body[Symbol.asyncIterator]();
    let ended = false;
    try {
      const { data, parity, id: contentId } = this.#options;
      const cutter = new StripeCutter({
        data,
        blockSizeBytes: chooseBlockSize(data, this.#options.sizeBytes),
        sizeBytes: this.#options.sizeBytes,
        allocate: this.#options.allocate,
      });
      let sizeBytes = 0;
      for (;;) {
        const result = await this.#interruptible.wait(iterator.next());
        if (result.done === true) break;
        sizeBytes += result.value.byteLength;
        for (const stripe of cutter.push(result.value)) await this.#push(stripe);
      }
      ended = true;
      const last = cutter.finish();
      if (last !== undefined) await this.#push(last);
      const stored = await this.#finish();
      return {
        layout: {
          sizeBytes,
          data,
          parity,
          blockSizeBytes: this.#blockSizeBytes,
          contentId,
          layout: 0,
          placement: stored.placement,
        },
        missing: stored.missing,
        use: this.#begun?.use,
      };
    } catch (error) {
      this.#failed = true;
      this.#begun?.writer.fail(
        error instanceof Error ? error : new Error('the body failed', { cause: error }),
      );
      // Tells the body's source that nobody reads on; a source that hangs is not waited for, and how it ends is no matter.
      if (!ended) iterator.return?.().then(ignore, ignore);
      throw error;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** See `ContentWriter.strays`. */
  strays(): readonly Promise<{ readonly node: ShardNode; readonly index: number } | undefined>[] {
    return this.#begun?.writer.strays() ?? [];
  }

  /** Gives the epoch back. */
  release(): void {
    this.#begun?.use.release();
  }

  async #push(stripe: Stripe): Promise<void> {
    if (this.#begun === undefined) {
      this.#begun = await this.#options.begin((error) => {
        this.#interruptible.interrupt(error);
      });
      this.#blockSizeBytes = stripe.blockBytes;
    }
    await this.#interruptible.wait(this.#begun.writer.push(stripe));
  }

  async #finish(): Promise<StoredShards> {
    if (this.#begun === undefined) return { placement: [], missing: [] };
    return this.#interruptible.wait(this.#begun.writer.finish());
  }
}

function ignore(): void {
  // The outcome of a stream that was given up concerns nobody.
}
