import { type OutgoingCall, cancelled, checkCall, encodeMethod } from './client_lane.ts';
import { PeerConnection } from './connection.ts';
import type { ClientTls, Driver, TransportLogger } from './driver.ts';
import { type DriverName, selectDriver } from './drivers/select.ts';
import { TransportError, messageOf } from './errors.ts';
import { minSecretBytes } from './handshake.ts';
import {
  connectMs,
  firstBackoffMs,
  firstUpgradeMs,
  lastBackoffMs,
  lastUpgradeMs,
  maxWaitingCalls,
} from './limits.ts';
import { Upgrade } from './upgrade.ts';
import { certificateName, requireLabel } from './peer_name.ts';
import type { CallOptions, CallRequest, CallResponse, Peer, PeerId, PeerState } from './transport.ts';

export interface DialOptions {
  readonly driver: DriverName | Driver;
  readonly host: string;
  readonly port: number;
  /** Who must answer: its certificate has to say so, and its lanes have to prove it. */
  readonly peer: PeerId;
  readonly self: PeerId;
  readonly clusterId: string;
  /** The cluster's secret, at least 16 bytes. */
  readonly secret: Uint8Array;
  /** Required by all drivers but `pipe`. */
  readonly tls?: ClientTls;
  readonly logger?: TransportLogger;
  /** Called at each change. */
  onState?(state: PeerState): void;
  /** 0 to 1, for the jitter of the back-off. */
  random?(): number;
  /** First pause before a connection that fell back tries for better; doubled each time. Default 15 s. */
  readonly upgradeMs?: number;
}

/**
 * Begins to connect and goes on trying until `close`. Calls made meanwhile wait for the attempt under way and fail
 * with it, or at their deadline.
 * @throws TypeError when an option can't be.
 */
export function dialPeer(options: DialOptions): DialedPeer {
  requireLabel(options.peer, 'peer');
  requireLabel(options.self, 'self');
  requireLabel(options.clusterId, 'clusterId');
  requireSecret(options.secret);
  if (options.tls?.insecureSkipVerify === true) {
    options.logger?.warn({ peer: options.peer }, 'the certificate of this peer is not verified');
  }
  const peer = new DialedPeer(options);
  peer.start();
  return peer;
}

/** @throws TypeError for one that could be guessed. */
export function requireSecret(secret: Uint8Array): void {
  if (secret.length < minSecretBytes) {
    throw new TypeError(`secret: must have at least ${minSecretBytes} bytes, but has ${secret.length}`);
  }
}

/** A peer that keeps itself connected. */
export class DialedPeer implements Peer {
  readonly id: PeerId;
  readonly #options: DialOptions;
  #state: PeerState = 'down';
  #connection: PeerConnection | undefined;
  #attempt = new Attempt();
  #failures = 0;
  #timer: NodeJS.Timeout | undefined;
  /** While a connection that fell back is there. */
  #upgrade: Upgrade | undefined;
  /** Connections that were replaced and still have calls under way. */
  readonly #retiring = new Set<PeerConnection>();
  /** While the notices of the connection before are on their way: they arrive in order, or not at all. */
  #holdsNotices = false;
  readonly #closing = new AbortController();
  #connecting: Promise<void> | undefined;

  /** Use `dialPeer`. */
  constructor(options: DialOptions) {
    this.id = options.peer;
    this.#options = options;
  }

  get state(): PeerState {
    return this.#state;
  }

  /** Which driver carries the connection; undefined while there is none. */
  get via(): string | undefined {
    return this.#connection?.via;
  }

  start(): void {
    this.#connecting ??= this.#connect();
  }

  call(method: string, request: CallRequest, options: CallOptions): Promise<CallResponse> {
    const outgoing = { method, request, options };
    try {
      checkCall(outgoing);
    } catch (error) {
      return Promise.reject(error instanceof Error ? error : new TypeError(String(error)));
    }
    const { signal } = options;
    if (signal?.aborted === true) return Promise.reject(cancelled(signal));
    if (this.#closing.signal.aborted) {
      return Promise.reject(new TransportError('cancelled', 'the peer was closed'));
    }
    const connection = this.#connection;
    if (connection !== undefined) return connection.lane(options.lane ?? 'small').call(outgoing);
    return this.#callLater(outgoing);
  }

  notify(method: string, payload: Uint8Array): boolean {
    const connection = this.#connection;
    if (connection === undefined || this.#holdsNotices) return false;
    return connection.lane('raft').notify(encodeMethod(method), payload);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    clearTimeout(this.#timer);
    const closed = new TransportError('cancelled', 'the peer was closed');
    this.#attempt.fail(closed);
    const connection = this.#connection;
    this.#connection = undefined;
    await this.#upgrade?.stop();
    await connection?.close();
    await Promise.all([...this.#retiring].map((retiring) => retiring.close()));
    await this.#connecting;
    this.#become('down');
  }

  /** Resolves once it is connected. @throws TransportError when it isn't by then. */
  async connected(timeoutMs: number): Promise<void> {
    const giveUpMs = performance.now() + timeoutMs;
    while (this.#connection === undefined) {
      const leftMs = giveUpMs - performance.now();
      if (leftMs <= 0 || this.#closing.signal.aborted) {
        throw new TransportError('unreachable', `${this.id} isn't connected`);
      }
      try {
        await this.#attempt.wait({ deadlineMs: leftMs });
      } catch (error) {
        if (!(error instanceof TransportError)) throw error;
        if (performance.now() >= giveUpMs) throw error;
      }
    }
  }

  async #callLater(outgoing: OutgoingCall): Promise<CallResponse> {
    const { options } = outgoing;
    const startMs = performance.now();
    const connection = await this.#attempt.wait(options);
    const deadlineMs = Math.max(1, options.deadlineMs - (performance.now() - startMs));
    return connection
      .lane(options.lane ?? 'small')
      .call({ ...outgoing, options: { ...options, deadlineMs } });
  }

  async #connect(): Promise<void> {
    const options = this.#options;
    const driver = selectDriver(options.driver);
    try {
      const connection = await this.#open(driver);
      if (this.#closing.signal.aborted) {
        await connection.close();
        return;
      }
      if (connection.isOver) throw new TransportError('unreachable', 'the connection was lost at once');
      this.#failures = 0;
      this.#take(connection);
      this.#become('up');
      this.#attempt.succeed(connection);
    } catch (error) {
      if (this.#closing.signal.aborted) return;
      const failure =
        error instanceof TransportError
          ? error
          : new TransportError('unreachable', String(error), { cause: error });
      if (this.#failures === 0) {
        options.logger?.warn({ peer: this.id, code: failure.code, error: failure.message }, 'cannot connect');
      }
      this.#retry(failure);
    }
  }

  #open(driver: Driver): Promise<PeerConnection> {
    const options = this.#options;
    // Named so that what happens to one that was replaced meanwhile isn't taken for what happens to the peer.
    const opening = { connection: undefined as PeerConnection | undefined };
    const isCurrent = (): boolean =>
      opening.connection !== undefined && opening.connection === this.#connection;
    return PeerConnection.open({
      driver,
      self: options.self,
      peer: options.peer,
      clusterId: options.clusterId,
      secret: options.secret,
      connect: {
        host: options.host,
        port: options.port,
        servername: certificateName(options.peer, options.clusterId),
        timeoutMs: connectMs,
        signal: this.#closing.signal,
        ...(options.tls === undefined ? {} : { tls: options.tls }),
        ...(options.logger === undefined ? {} : { logger: options.logger }),
      },
      onSuspect: (suspect) => {
        if (isCurrent()) this.#become(suspect ? 'suspect' : 'up');
      },
      onLost: (error) => {
        if (isCurrent()) this.#lost(error);
      },
    }).then((connection) => (opening.connection = connection));
  }

  /** From now on calls go this way. */
  #take(connection: PeerConnection): void {
    this.#connection = connection;
    this.#options.logger?.info({ peer: this.id, via: connection.via }, 'connected');
    this.#upgrade = undefined;
    this.#watchForBetter(connection);
  }

  #watchForBetter(connection: PeerConnection): void {
    const { driver, upgradeMs, logger } = this.#options;
    const better = selectDriver(driver).better?.(connection.via);
    if (better === undefined) return;
    this.#upgrade = new Upgrade({
      firstMs: upgradeMs ?? firstUpgradeMs,
      lastMs: lastUpgradeMs,
      open: () => this.#open(better),
      opened: (fresh) => {
        this.#replace(connection, fresh).catch((error: unknown) => {
          logger?.warn({ peer: this.id, error: messageOf(error) }, 'closing a connection failed');
        });
      },
      failed: (error) => {
        logger?.info({ peer: this.id, via: connection.via, error: messageOf(error) }, 'nothing better yet');
      },
    });
  }

  /** New calls go the new way; those under way end where they began. */
  async #replace(old: PeerConnection, fresh: PeerConnection): Promise<void> {
    if (this.#connection !== old || this.#closing.signal.aborted) {
      await fresh.close();
      return;
    }
    if (fresh.isOver) {
      this.#watchForBetter(old);
      return;
    }
    this.#take(fresh);
    this.#become('up');
    this.#retiring.add(old);
    this.#holdsNotices = true;
    try {
      await old.lane('raft').lane.roundTrip();
    } catch (error) {
      // It is lost, and with it what was on its way: nothing can overtake anything.
      if (!(error instanceof TransportError)) throw error;
    } finally {
      this.#holdsNotices = false;
    }
    await old.retire();
    this.#retiring.delete(old);
  }

  #lost(error: TransportError): void {
    this.#connection = undefined;
    void this.#upgrade?.stop();
    this.#attempt = new Attempt();
    this.#options.logger?.warn({ peer: this.id, error: error.message }, 'the connection was lost');
    this.#become('down');
    this.#later(0);
  }

  #retry(error: TransportError): void {
    const attempt = this.#attempt;
    this.#attempt = new Attempt();
    attempt.fail(
      error.code === 'refused'
        ? error
        : new TransportError('unreachable', `${this.id}: ${error.message}`, { cause: error }),
    );
    const pauseMs = Math.min(lastBackoffMs, firstBackoffMs * 2 ** Math.min(this.#failures, 16));
    this.#failures++;
    const chance = this.#options.random?.() ?? Math.random();
    this.#later(pauseMs * (1 - chance / 2));
  }

  #later(pauseMs: number): void {
    if (this.#closing.signal.aborted) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#connecting = this.#connect();
    }, pauseMs);
    this.#timer.unref();
  }

  #become(state: PeerState): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#options.onState?.(state);
  }
}

interface Waiter {
  readonly resolve: (connection: PeerConnection) => void;
  readonly reject: (error: TransportError) => void;
}

/** The attempt to connect that is under way or comes next, and the calls that wait for it. */
class Attempt {
  readonly #waiting = new Set<Waiter>();
  #failed: TransportError | undefined;

  async wait(options: {
    readonly deadlineMs: number;
    readonly signal?: AbortSignal;
  }): Promise<PeerConnection> {
    if (this.#failed !== undefined) throw this.#failed;
    if (this.#waiting.size >= maxWaitingCalls) {
      throw new TransportError('overloaded', `${maxWaitingCalls} calls wait for this peer already`);
    }
    const { deadlineMs, signal } = options;
    const connected = Promise.withResolvers<PeerConnection>();
    const waiter: Waiter = {
      resolve: (connection) => connected.resolve(connection),
      reject: (error) => connected.reject(error),
    };
    const timer = setTimeout(
      () => waiter.reject(new TransportError('deadline', `no connection in ${Math.ceil(deadlineMs)} ms`)),
      deadlineMs,
    );
    const onAbort = (): void => {
      if (signal !== undefined) waiter.reject(cancelled(signal));
    };
    signal?.addEventListener('abort', onAbort);
    this.#waiting.add(waiter);
    try {
      return await connected.promise;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      this.#waiting.delete(waiter);
    }
  }

  succeed(connection: PeerConnection): void {
    for (const waiter of this.#waiting) waiter.resolve(connection);
  }

  fail(error: TransportError): void {
    this.#failed = error;
    for (const waiter of this.#waiting) waiter.reject(error);
  }
}
