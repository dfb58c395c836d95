import type { EngineLogger } from '../engine/context.ts';
import type { GlobalState } from '../global_state.ts';
import { scanPages } from '../state_rows.ts';
import type { Destination } from './destination.ts';
import { decodeQueued, eventIdOf, queuePrefix, timeOfQueueKey } from './queue_rows.ts';

const rowsPerPage = 64;
const rowsPerCount = 1000;
const deliveriesAtOnce = 8;
/** A pass ends after so long, or as soon as this many events in a row have failed. */
const passMs = 3000;
const failuresPerPass = 8;
const trimEveryMs = 60_000;

/** What became of events; for metrics. */
export interface QueueObservation {
  readonly destination: string;
  readonly delivered?: number;
  readonly failed?: number;
  readonly dropped?: number;
  /** All that wait, as last counted. */
  readonly queued?: number;
}

interface QueueOptions {
  readonly state: GlobalState;
  readonly clock: () => number;
  readonly randomBytes: (length: number) => Uint8Array;
  readonly logger: EngineLogger;
  readonly maxQueued: number;
  readonly retentionMs: number;
  readonly observe?: (observation: QueueObservation) => void;
  readonly timeoutMs?: number;
  readonly backOffMs?: { readonly first: number; readonly longest: number };
}

/** The events that wait for one destination, delivered pass by pass. */
export class DestinationQueue {
  readonly destination: Destination;
  readonly #options: QueueOptions;
  /** Where the next pass goes on; events that failed before it are tried again once it has come to the end. */
  #after: Uint8Array | undefined;
  #failures = 0;
  #failedInRound = false;
  #notBeforeMs = 0;
  #trimmedMs = Number.NEGATIVE_INFINITY;

  constructor(destination: Destination, options: QueueOptions) {
    this.destination = destination;
    this.#options = options;
  }

  /** Delivers for a while; after failures not before their pause is over. */
  async pass(signal: AbortSignal): Promise<void> {
    const begunMs = performance.now();
    if (begunMs - this.#trimmedMs >= trimEveryMs) {
      this.#trimmedMs = begunMs;
      await this.trim(signal);
    }
    if (begunMs < this.#notBeforeMs) return;
    while (!signal.aborted && performance.now() - begunMs < passMs) {
      const page = await this.#options.state.scan({
        table: 'state',
        prefix: queuePrefix(this.destination.name),
        limit: rowsPerPage,
        ...(this.#after === undefined ? {} : { startAfter: this.#after }),
      });
      const { failed, last } = await this.#deliverAll(page.items, signal);
      if (failed >= failuresPerPass || (failed > 0 && failed === page.items.length)) {
        // Nobody is there, as it seems: the next pass begins with the oldest again.
        this.#after = undefined;
        this.#backOff();
        return;
      }
      if (failed > 0) this.#failedInRound = true;
      this.#after = page.next === undefined ? undefined : last;
      if (page.next === undefined) {
        if (this.#failedInRound) this.#backOff();
        else this.#failures = 0;
        this.#failedInRound = false;
        return;
      }
    }
  }

  async #deliverAll(
    items: readonly { readonly key: Uint8Array; readonly value: Uint8Array }[],
    signal: AbortSignal,
  ): Promise<{ readonly failed: number; readonly last: Uint8Array | undefined }> {
    const waiting = [...items].reverse();
    const delivered: Uint8Array[] = [];
    let failed = 0;
    const lane = async (): Promise<void> => {
      for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
        if (signal.aborted || failed >= failuresPerPass) return;
        if (await this.#tryDeliver(next, signal)) delivered.push(next.key);
        else failed += 1;
      }
    };
    await Promise.all(Array.from({ length: deliveriesAtOnce }, lane));
    await this.#forget(delivered);
    this.#observe({ delivered: delivered.length, failed });
    return { failed, last: items.at(-1)?.key };
  }

  async #tryDeliver(
    row: { readonly key: Uint8Array; readonly value: Uint8Array },
    signal: AbortSignal,
  ): Promise<boolean> {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(this.#options.timeoutMs ?? 10_000)]);
    try {
      await this.destination.deliver({ id: eventIdOf(row.key), body: decodeQueued(row.value) }, limit);
      return true;
    } catch (error) {
      if (!signal.aborted) {
        this.#options.logger.warn(
          { err: error, destination: this.destination.name },
          'an event could not be delivered and will be tried again',
        );
      }
      return false;
    }
  }

  async #forget(keys: readonly Uint8Array[]): Promise<void> {
    if (keys.length === 0) return;
    await this.#options.state.batch({
      conditions: [],
      operations: keys.map((key) => ({ type: 'delete' as const, table: 'state', key })),
    });
  }

  /** Counts what waits, and drops what is too old or too much: the oldest go first. */
  async trim(signal: AbortSignal): Promise<void> {
    const { state, clock, retentionMs, maxQueued, logger } = this.#options;
    const oldestMs = clock() - retentionMs;
    const prefix = queuePrefix(this.destination.name);
    let queued = 0;
    let dropped = 0;
    const young: Uint8Array[] = [];
    for await (const page of scanPages(state, { table: 'state', prefix, limit: rowsPerCount })) {
      if (signal.aborted) return;
      const expired: Uint8Array[] = [];
      for (const { key } of page.items) (timeOfQueueKey(key) < oldestMs ? expired : young).push(key);
      queued += page.items.length;
      // The oldest of what is kept; once there are more than may wait, these go.
      const surplus = young.splice(0, Math.max(0, young.length - maxQueued));
      await this.#forget([...expired, ...surplus]);
      dropped += expired.length + surplus.length;
    }
    if (dropped > 0) {
      logger.error({ destination: this.destination.name, dropped }, 'events were dropped undelivered');
    }
    this.#observe({ dropped, queued: queued - dropped });
  }

  /** Full jitter below a limit that doubles. */
  #backOff(): void {
    const { first, longest } = this.#options.backOffMs ?? { first: 1000, longest: 300_000 };
    this.#failures += 1;
    const limitMs = Math.min(first * 2 ** Math.min(this.#failures - 1, 30), longest);
    const [random = 0] = this.#options.randomBytes(1);
    this.#notBeforeMs = performance.now() + (limitMs * (random + 128)) / 384;
  }

  #observe(observation: Omit<QueueObservation, 'destination'>): void {
    this.#options.observe?.({ destination: this.destination.name, ...observation });
  }
}
