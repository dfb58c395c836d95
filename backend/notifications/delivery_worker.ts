import type { EngineLogger } from '../engine/context.ts';
import type { GlobalState } from '../global_state.ts';
import { LeasedLoop } from '../leased_loop.ts';
import type { Destination } from './destination.ts';
import { DestinationQueue, type QueueObservation } from './destination_queue.ts';
import { destinationOfPrefix, NOTIFICATION_LEASE_KEY, queueEnd, queuePrefix } from './queue_rows.ts';

export interface DeliveryOptions {
  readonly state: GlobalState;
  readonly destinations: readonly Destination[];
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  readonly randomBytes: (length: number) => Uint8Array;
  readonly logger: EngineLogger;
  /** Names this process in the lease. */
  readonly holder: string;
  /** Events that may wait for one destination; beyond that the oldest go. */
  readonly maxQueued: number;
  /** An event that could not be delivered for so long goes. */
  readonly retentionMs: number;
  readonly observe?: (observation: QueueObservation) => void;
  /** Between two looks at the queues. */
  readonly intervalMs?: number;
  /** How long other gateways wait for one that delivers and has gone silent. */
  readonly leaseMs?: number;
  /** Of one delivery. */
  readonly timeoutMs?: number;
  /** Of the pause after a failure, which doubles with each: the first and the longest. */
  readonly backOffMs?: { readonly first: number; readonly longest: number };
}

const trimOthersEveryMs = 60_000;

/**
 * Delivers the events that wait in the queue rows, on one gateway at a time. Each is forgotten when its receiver has
 * acknowledged it, so it arrives at least once: again where the gateway dies in between, or where two believe for a
 * moment to be the one. Destinations don't wait for each other.
 */
export class DeliveryWorker {
  readonly #options: DeliveryOptions;
  readonly #queues: readonly DestinationQueue[];
  readonly #loop: LeasedLoop;
  #trimmedOthersMs = Number.NEGATIVE_INFINITY;

  constructor(options: DeliveryOptions) {
    this.#options = options;
    this.#queues = options.destinations.map((destination) => new DestinationQueue(destination, options));
    this.#loop = new LeasedLoop({
      name: 'the delivery worker',
      // Each pass is short whatever waits, so that the lease is renewed in time.
      turn: async ({ signal }) => {
        await Promise.all(this.#queues.map((queue) => queue.pass(signal)));
        await this.#trimOthers(signal);
      },
      intervalMs: options.intervalMs ?? 500,
      failure: 'delivering events failed and will be tried again',
      state: options.state,
      key: NOTIFICATION_LEASE_KEY,
      leaseMs: options.leaseMs ?? 15_000,
      holder: options.holder,
      logger: options.logger,
      randomBytes: (count) => options.randomBytes(count),
    });
  }

  start(): void {
    this.#loop.start();
  }

  /** Ends after the deliveries under way; what waits is delivered by another gateway, or after the next start. */
  async close(): Promise<void> {
    await this.#loop.close();
    for (const { destination } of this.#queues) await destination.close();
  }

  /** Events of destinations that the configuration has no more wait for it to come back, but not for ever. */
  async #trimOthers(signal: AbortSignal): Promise<void> {
    if (performance.now() - this.#trimmedOthersMs < trimOthersEveryMs) return;
    this.#trimmedOthersMs = performance.now();
    const page = await this.#options.state.scan({
      table: 'state',
      prefix: queuePrefix(),
      delimiter: queueEnd,
      limit: 1000,
    });
    for (const prefix of page.prefixes) {
      const name = destinationOfPrefix(prefix);
      if (this.#queues.some((queue) => queue.destination.name === name)) continue;
      await new DestinationQueue(goneDestination(name), this.#options).trim(signal);
    }
  }
}

/** Stands in for a destination that the configuration has no more; nothing is delivered to it. */
function goneDestination(name: string): Destination {
  return {
    name,
    type: 'gone',
    deliver: () => Promise.reject(new Error(`${name} is not in the configuration`)),
    close: () => Promise.resolve(),
  };
}
