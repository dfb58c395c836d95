import { UnavailableError } from '../../s3db/errors.ts';
import { sleep, type Clock } from '../clock.ts';
import type { ContentRange } from '../data_store.ts';
import type { Codec } from './erasure/codec.ts';
import type { ContentLayout } from './locator.ts';
import type { ShardNode, Timing } from './ports.ts';
import type { ReadPace } from './read_pace.ts';
import { stripeBytes, stripePart } from './stripes.ts';
import type { StripePart } from './stripes.ts';
import { WindowReader } from './window_reader.ts';

/** Content that is fetched at once, unless a single stripe is more. */
const windowBytes = 4 * 1024 * 1024;
/** Between attempts at a window that too few nodes answered. */
const retryPauseMs = 250;

interface ContentReaderOptions {
  readonly content: ContentLayout;
  /** Must lie within the content and not be empty. */
  readonly range: ContentRange;
  readonly codec: Codec;
  /** The node of each shard; undefined where there is none any more. Asked anew for every window. */
  readonly nodes: () => readonly (ShardNode | undefined)[];
  readonly clock: Clock;
  readonly timing: Timing;
  readonly pace: ReadPace;
  readonly signal?: AbortSignal | undefined;
  /** Called with the shards that a window found missing or damaged. */
  readonly onFaulty: (indexes: readonly number[]) => void;
}

/**
 * Opens a range of content: resolves when its first stripe is there, and yields the rest window by window, one ahead
 * of the consumer.
 */
export async function readContent(options: ContentReaderOptions): Promise<AsyncIterable<Uint8Array>> {
  const reader = new ContentReader(options);
  try {
    const first = await reader.first();
    return reader.rest(first);
  } catch (error) {
    reader.close();
    throw error;
  }
}

class ContentReader {
  readonly #options: ContentReaderOptions;
  readonly #plan: WindowPlan;
  /** The window that is being consumed, and the one ahead of it. */
  readonly #open = new Map<number, WindowReader>();
  readonly #onAbort = (): void => {
    this.close();
  };

  constructor(options: ContentReaderOptions) {
    this.#options = options;
    this.#plan = new WindowPlan(options.content, options.range);
    options.signal?.throwIfAborted();
    options.signal?.addEventListener('abort', this.#onAbort);
  }

  /** The first stripe's part. */
  async first(): Promise<readonly Uint8Array[]> {
    return this.#take(0, 0);
  }

  async *rest(first: readonly Uint8Array[]): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for (let number = 0; number < this.#plan.count; number += 1) {
        const length = this.#plan.length(number);
        for (let part = 0; part < length; part += 1) {
          // While the second half of a window goes to the client, the next one comes.
          if (part >= Math.floor(length / 2) && number + 1 < this.#plan.count) this.#window(number + 1);
          const pieces = number === 0 && part === 0 ? first : await this.#take(number, part);
          yield* pieces;
          this.#options.signal?.throwIfAborted();
        }
        this.#finish(number);
      }
    } finally {
      this.close();
    }
  }

  /** Lets go of everything. */
  close(): void {
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    const { signal } = this.#options;
    const reason: unknown = signal?.aborted === true ? signal.reason : undefined;
    const error = reason instanceof Error ? reason : new Error('the read was given up');
    for (const number of [...this.#open.keys()]) {
      this.#open.get(number)?.close(error);
      this.#finish(number);
    }
  }

  /**
   * Where too few nodes answer, the window is asked for again for a while: when as many nodes are down as may be, a
   * single lost connection would otherwise break off a download that its return a moment later can finish.
   */
  async #take(number: number, part: number): Promise<readonly Uint8Array[]> {
    const { clock, timing, signal } = this.#options;
    const giveUpMs = clock.monotonicMs() + timing.unavailableMs;
    for (;;) {
      try {
        const pieces = await this.#window(number).take(part);
        signal?.throwIfAborted();
        return pieces;
      } catch (error) {
        signal?.throwIfAborted();
        if (!(error instanceof UnavailableError) || clock.monotonicMs() >= giveUpMs) throw error;
        this.#finish(number);
        await sleep(retryPauseMs, { clock, signal: signal ?? new AbortController().signal });
      }
    }
  }

  #window(number: number): WindowReader {
    let window = this.#open.get(number);
    if (window === undefined) {
      const { content, codec, clock, timing, pace, nodes } = this.#options;
      const parts = this.#plan.parts(number);
      window = new WindowReader({ content, codec, nodes: nodes(), parts, clock, timing, pace });
      this.#open.set(number, window);
    }
    return window;
  }

  #finish(number: number): void {
    const faulty = this.#open.get(number)?.faulty() ?? [];
    this.#open.delete(number);
    if (faulty.length > 0) this.#options.onFaulty(faulty);
  }
}

/** The stripes that a range touches, in runs that are fetched together; computed as they are needed. */
class WindowPlan {
  readonly count: number;
  readonly #content: ContentLayout;
  readonly #range: ContentRange;
  readonly #first: number;
  readonly #stripes: number;
  readonly #perWindow: number;

  constructor(content: ContentLayout, range: ContentRange) {
    this.#content = content;
    this.#range = range;
    const perStripe = stripeBytes(content);
    this.#first = Math.floor(range.offset / perStripe);
    this.#stripes = Math.floor((range.offset + range.lengthBytes - 1) / perStripe) - this.#first + 1;
    this.#perWindow = Math.max(1, Math.floor(windowBytes / perStripe));
    // A small rest is not worth requests of its own: the last window takes it.
    const small = Math.floor(this.#perWindow / 3);
    this.count = Math.max(1, Math.ceil((this.#stripes - small) / this.#perWindow));
  }

  /** How many stripes window `number` has. */
  length(number: number): number {
    return number < this.count - 1 ? this.#perWindow : this.#stripes - number * this.#perWindow;
  }

  /** What window `number` takes of its stripes. */
  parts(number: number): StripePart[] {
    const { offset, lengthBytes } = this.#range;
    const start = this.#first + number * this.#perWindow;
    return Array.from({ length: this.length(number) }, (_, i) =>
      stripePart(this.#content, { stripe: start + i, offset, lengthBytes }),
    );
  }
}
