import { setTimeout as sleep } from 'node:timers/promises';
import { CreditBudget } from './body_reader.ts';
import { ClientLane } from './client_lane.ts';
import type { Connection, Driver, DriverConnectOptions } from './driver.ts';
import { TransportError, messageOf } from './errors.ts';
import { type LaneKind, laneKinds } from './frame.ts';
import { Lane, type LaneIdentity } from './lane.ts';
import { downAfterMs, heartbeatMs, receiveBudgetBytes, suspectAfterMs } from './limits.ts';
import { pausedMs } from './pause.ts';
import type { PeerId } from './transport.ts';

interface PeerConnectionOptions extends LaneIdentity {
  readonly driver: Driver;
  readonly peer: PeerId;
  readonly connect: DriverConnectOptions;
  onSuspect(suspect: boolean): void;
  onLost(error: TransportError): void;
}

/** One connection with its three lanes and their heartbeats. It is lost as a whole and never comes back. */
export class PeerConnection {
  readonly #options: PeerConnectionOptions;
  readonly #connection: Connection;
  readonly #lanes = new Map<LaneKind, ClientLane>();
  #timer: NodeJS.Timeout | undefined;
  #lastTickMs = performance.now();
  /** Time in which this process stood still: nobody could be heard in it. */
  #pausedMs = 0;
  #suspect = false;
  #over = false;

  private constructor(options: PeerConnectionOptions, connection: Connection) {
    this.#options = options;
    this.#connection = connection;
  }

  /** @throws TransportError when any part of it fails; nothing is then left open. */
  static async open(options: PeerConnectionOptions): Promise<PeerConnection> {
    const connection = await options.driver.connect(options.connect);
    const self = new PeerConnection(options, connection);
    connection.onLost((error) =>
      self.#lose(new TransportError('unreachable', error.message, { cause: error })),
    );
    const budget = options.driver.receiveBudget ?? new CreditBudget(receiveBudgetBytes);
    try {
      // One after the other, so that their stream ids are in the order of their priority.
      for (const kind of laneKinds) {
        const stream = await connection.openStream();
        const lane = await Lane.open(stream, { ...options, kind });
        self.#lanes.set(kind, new ClientLane({ lane, budget, onClosed: (error) => self.#lose(error) }));
      }
    } catch (error) {
      self.#over = true;
      await connection.close();
      throw error instanceof TransportError
        ? error
        : new TransportError('unreachable', messageOf(error), { cause: error });
    }
    if (self.isOver) {
      await connection.close();
      throw new TransportError('unreachable', 'the connection was lost while it was opened');
    }
    self.#timer = setInterval(() => self.#tick(), heartbeatMs);
    self.#timer.unref();
    return self;
  }

  /** Which driver it is in the end. */
  get via(): string {
    return this.#connection.via;
  }

  lane(kind: LaneKind): ClientLane {
    const lane = this.#lanes.get(kind);
    if (lane === undefined) throw new Error(`there is no lane ${kind}`);
    return lane;
  }

  /**
   * Closes it once its last call is over: every call moves or ends by its deadline, so this is only a matter of time.
   * Nothing new may be begun on it.
   */
  async retire(): Promise<void> {
    while (!this.isOver && [...this.#lanes.values()].some((lane) => !lane.idle)) {
      await sleep(heartbeatMs, undefined, { ref: false });
    }
    if (!this.isOver) await this.close();
  }

  async close(): Promise<void> {
    this.#end(new TransportError('cancelled', 'the peer was closed'));
    await this.#connection.close();
  }

  #tick(): void {
    const now = performance.now();
    this.#pausedMs += pausedMs(now - this.#lastTickMs, heartbeatMs);
    this.#lastTickMs = now;
    let latest = 0;
    let earliest = now;
    for (const { lane } of this.#lanes.values()) {
      latest = Math.max(latest, lane.heardMs);
      earliest = Math.min(earliest, lane.heardMs);
      lane.ping();
    }
    if (now - latest < suspectAfterMs) this.#pausedMs = 0;
    // A peer is alive if any lane is; but a lane that stays silent is of no use, so it costs the connection.
    if (now - earliest - this.#pausedMs > downAfterMs) {
      this.#lose(new TransportError('unreachable', `silent for ${downAfterMs} ms`));
      return;
    }
    const suspect = now - latest - this.#pausedMs > suspectAfterMs;
    if (suspect === this.#suspect) return;
    this.#suspect = suspect;
    this.#options.onSuspect(suspect);
  }

  #lose(error: TransportError): void {
    if (this.#over) return;
    this.#end(error);
    this.#connection.close().catch((cause: unknown) => {
      this.#options.connect.logger?.warn({ error: messageOf(cause) }, 'closing a lost connection failed');
    });
    this.#options.onLost(error);
  }

  #end(error: TransportError): void {
    this.#over = true;
    clearInterval(this.#timer);
    for (const lane of this.#lanes.values()) lane.close(error);
  }

  /** It was lost or closed. */
  get isOver(): boolean {
    return this.#over;
  }
}
