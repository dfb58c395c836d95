import { setTimeout as sleep } from 'node:timers/promises';
import { readSmallFile, writeFileDurably, type FileSystem } from './file_system.ts';
import { NodeFileSystem } from './node_file_system.ts';
import type { ScrubReport } from './scrub.ts';
import type { CompactedSegment } from './compaction.ts';
import type { ShardStore } from './shard_store.ts';

const MIB = 1024 * 1024;
const PROGRESS_FILE = 'scrub.json';

export interface UpkeepOptions {
  /** The store's directory: how far the scrubber got is kept there. */
  readonly directory: string;
  readonly fileSystem?: FileSystem;
  /** How often segments are looked over. Default 10 s. */
  readonly compactionIntervalMs?: number;
  /** Default 0.5. */
  readonly minDeadFraction?: number;
  /** Bytes read a second by compaction. Default 32 MiB. */
  readonly compactionBytesPerSecond?: number;
  /** With less free space than this, compaction begins at `pressureDeadFraction` and isn't paced. Default 2 GiB. */
  readonly pressureFreeBytes?: number;
  /** Default 0.1. */
  readonly pressureDeadFraction?: number;
  /** One scrub begins this long after the one before has begun, or when that is done. Default 7 days. */
  readonly scrubIntervalMs?: number;
  /** Default 8 MiB. */
  readonly scrubBytesPerSecond?: number;
  readonly onCompacted?: (done: readonly CompactedSegment[]) => void;
  readonly onScrubbed?: (report: ScrubReport) => void;
  /** What went wrong; upkeep goes on at its next turn unless the store has failed. */
  readonly onError: (error: unknown) => void;
  /** Milliseconds since 1970; scrub times survive restarts. */
  readonly now?: () => number;
}

interface ScrubProgress {
  readonly startedAtMs: number;
  /** Segment to go on with; undefined when the scrub was finished. */
  readonly next: number | undefined;
}

/** Compacts and scrubs a store in the background until it is stopped. */
export class Upkeep {
  readonly #store: ShardStore;
  readonly #options: Required<UpkeepOptions>;
  readonly #stop = new AbortController();
  readonly #running: Promise<unknown>;

  private constructor(store: ShardStore, options: Required<UpkeepOptions>) {
    this.#store = store;
    this.#options = options;
    this.#running = Promise.all([
      this.#repeat(options.compactionIntervalMs, () => this.#compact()),
      this.#repeat(Math.min(options.scrubIntervalMs, 60_000), () => this.#scrubWhenDue()),
    ]);
  }

  static start(store: ShardStore, options: UpkeepOptions): Upkeep {
    return new Upkeep(store, {
      fileSystem: new NodeFileSystem(),
      compactionIntervalMs: 10_000,
      minDeadFraction: 0.5,
      compactionBytesPerSecond: 32 * MIB,
      pressureFreeBytes: 2048 * MIB,
      pressureDeadFraction: 0.1,
      scrubIntervalMs: 7 * 24 * 3600 * 1000,
      scrubBytesPerSecond: 8 * MIB,
      onCompacted: () => undefined,
      onScrubbed: () => undefined,
      now: Date.now,
      ...options,
    });
  }

  /** Resolves when nothing of it touches the store any more. Call before the store is closed. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #repeat(intervalMs: number, action: () => Promise<void>): Promise<void> {
    const { signal } = this.#stop;
    const stopped = (): boolean => signal.aborted;
    while (!stopped() && this.#store.failure === undefined) {
      try {
        await action();
      } catch (error) {
        if (!stopped()) this.#options.onError(error);
      }
      // The abort is the only way for this to reject.
      await sleep(intervalMs, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  async #compact(): Promise<void> {
    const options = this.#options;
    const { signal } = this.#stop;
    const pressed = async (): Promise<boolean> => {
      const { freeBytes } = await this.#store.usage();
      return freeBytes < options.pressureFreeBytes;
    };
    // One segment at a time: space may run out, or come back, in between.
    while (!signal.aborted) {
      const pressure = await pressed();
      const done = await this.#store.compact({
        minDeadFraction: pressure ? options.pressureDeadFraction : options.minDeadFraction,
        maxSegments: 1,
        signal,
        ...(pressure ? {} : { bytesPerSecond: options.compactionBytesPerSecond }),
      });
      if (done.length === 0) return;
      options.onCompacted(done);
    }
  }

  async #scrubWhenDue(): Promise<void> {
    const { now, scrubIntervalMs, scrubBytesPerSecond } = this.#options;
    const progress = await this.#readProgress();
    if (
      progress !== undefined &&
      progress.next === undefined &&
      now() < progress.startedAtMs + scrubIntervalMs
    )
      return;
    const resumed = progress?.next === undefined ? undefined : progress;
    const startedAtMs = resumed?.startedAtMs ?? now();
    const report = await this.#store.scrub({
      bytesPerSecond: scrubBytesPerSecond,
      signal: this.#stop.signal,
      ...(resumed?.next === undefined ? {} : { from: resumed.next }),
      onSegment: ({ next }) => this.#writeProgress({ startedAtMs, next }),
    });
    await this.#writeProgress({ startedAtMs, next: undefined });
    this.#options.onScrubbed(report);
  }

  async #readProgress(): Promise<ScrubProgress | undefined> {
    const { fileSystem, directory } = this.#options;
    const bytes = await readSmallFile(fileSystem, `${directory}/${PROGRESS_FILE}`);
    if (bytes === undefined) return undefined;
    let parsed: unknown;
    try {
      parsed = JSON.parse(bytes.toString());
    } catch (error) {
      // Nothing depends on it but when the next scrub begins.
      if (error instanceof SyntaxError) return undefined;
      throw error;
    }
    if (typeof parsed !== 'object' || parsed === null) return undefined;
    const { startedAtMs, next } = parsed as Record<string, unknown>;
    if (typeof startedAtMs !== 'number') return undefined;
    return { startedAtMs, next: typeof next === 'number' ? next : undefined };
  }

  async #writeProgress(progress: ScrubProgress): Promise<void> {
    const { fileSystem, directory } = this.#options;
    const bytes = Buffer.from(`${JSON.stringify(progress)}\n`);
    await writeFileDurably(fileSystem, { directory, name: PROGRESS_FILE, bytes });
  }
}
