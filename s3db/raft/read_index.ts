import { quorumValue } from './configuration.ts';
import type { SafetyRules } from './rules.ts';
import type { Configuration, LogIndex, ReplicaId } from './types.ts';

/** Reads that wait at one replica. More are refused at once. */
const MAX_READS = 65_536;

export interface PendingRead {
  /** Who asked: the leader itself, or the follower that passed it on. */
  readonly from: ReplicaId;
  readonly requestId: number;
}

interface TimedRead extends PendingRead {
  readonly expiresAtTick: number;
}

export interface ConfirmedRead extends PendingRead {
  readonly index: LogIndex;
}

/**
 * ReadIndex at the leader (thesis 6.4). A read is given the commit index, and a round of heartbeats with a nonce of its own begins
 * *after* it arrived; when a majority has echoed that nonce or a later one, this leader was still the leader when the read
 * arrived, and the index covers every write acknowledged before. Reads that arrive between two batches share a round.
 *
 * Nonces count up within one leadership; answers of another one carry another term and never get here.
 */
export class ReadRounds {
  readonly #rules: SafetyRules;
  readonly #timeoutTicks: number;
  #tick = 0;
  #nonce = 0;
  #count = 0;
  #waiting: TimedRead[] = [];
  /** Ascending by nonce. */
  #rounds: { readonly nonce: number; readonly index: LogIndex; readonly reads: readonly TimedRead[] }[] = [];
  readonly #echoed = new Map<ReplicaId, number>();

  constructor(options: { rules: SafetyRules; timeoutTicks: number }) {
    this.#rules = options.rules;
    this.#timeoutTicks = options.timeoutTicks;
  }

  /** The newest round; 0 before the first. Every heartbeat carries it. */
  get nonce(): number {
    return this.#nonce;
  }

  get hasWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  /** @returns false when there are too many. */
  add(read: PendingRead): boolean {
    if (this.#count >= MAX_READS) return false;
    this.#count++;
    this.#waiting.push({ ...read, expiresAtTick: this.#tick + this.#timeoutTicks });
    return true;
  }

  /** Puts the waiting reads into a round of their own, at this commit index. Heartbeats with `nonce` must follow. */
  begin(commit: LogIndex): void {
    this.#nonce++;
    this.#rounds.push({ nonce: this.#nonce, index: commit, reads: this.#waiting });
    this.#waiting = [];
  }

  echo(from: ReplicaId, nonce: number): void {
    const round = this.#rules.acknowledgedRound(nonce, this.#nonce);
    if (round > (this.#echoed.get(from) ?? 0)) this.#echoed.set(from, round);
  }

  /** Takes out the reads whose round a majority has echoed. `self` counts as having echoed the newest. */
  confirmed(configuration: Configuration, self: ReplicaId): ConfirmedRead[] {
    if (this.#rounds.length === 0) return [];
    const nonce = quorumValue(configuration, (id) =>
      id === self ? this.#nonce : (this.#echoed.get(id) ?? 0),
    );
    const reads: ConfirmedRead[] = [];
    while ((this.#rounds[0]?.nonce ?? Infinity) <= nonce) {
      const round = this.#rounds.shift();
      for (const { from, requestId } of round?.reads ?? [])
        reads.push({ from, requestId, index: round?.index ?? 0 });
    }
    this.#count -= reads.length;
    return reads;
  }

  /** Advances the clock. @returns the reads that waited too long. */
  tick(): PendingRead[] {
    this.#tick++;
    const expired: PendingRead[] = [];
    while ((this.#rounds[0]?.reads[0]?.expiresAtTick ?? Infinity) <= this.#tick) {
      // A round begins with its oldest read; the others came at most one batch later.
      expired.push(...(this.#rounds.shift()?.reads ?? []));
    }
    const kept = this.#waiting.findIndex((read) => read.expiresAtTick > this.#tick);
    expired.push(...this.#waiting.splice(0, kept === -1 ? this.#waiting.length : kept));
    this.#count -= expired.length;
    return expired;
  }

  /** Takes out everything: the leadership ends. */
  abandon(): PendingRead[] {
    const reads = [...this.#rounds.flatMap((round) => round.reads), ...this.#waiting];
    this.#rounds = [];
    this.#waiting = [];
    this.#count = 0;
    return reads;
  }
}

/**
 * Reads that a follower has passed on to its leader. On the wire they carry ids that begin at a random number in each life of the
 * replica, so that a late answer to an earlier life's read is not taken for one to a new read.
 */
export class ForwardedReads {
  readonly #timeoutTicks: number;
  #tick = 0;
  #nextWireId: number;
  /** By wire id, in the order of asking and so of expiry. */
  readonly #pending = new Map<number, { readonly requestId: number; readonly expiresAtTick: number }>();

  constructor(options: { random: () => number; timeoutTicks: number }) {
    this.#timeoutTicks = options.timeoutTicks;
    // Below 2^53: 31 random bits, then room for two million reads before the next number.
    this.#nextWireId = Math.floor(options.random() * 2 ** 31) * 2 ** 21 + 1;
  }

  /** @returns the id to send, or undefined when there are too many. */
  add(requestId: number): number | undefined {
    if (this.#pending.size >= MAX_READS) return undefined;
    const wireId = this.#nextWireId++;
    this.#pending.set(wireId, { requestId, expiresAtTick: this.#tick + this.#timeoutTicks });
    return wireId;
  }

  /** @returns the driver's id of an answered read, or undefined when it is none of ours or was given up. */
  take(wireId: number): number | undefined {
    const requestId = this.#pending.get(wireId)?.requestId;
    this.#pending.delete(wireId);
    return requestId;
  }

  /** Advances the clock. @returns the driver's ids of reads that waited too long. */
  tick(): number[] {
    this.#tick++;
    const expired: number[] = [];
    for (const [wireId, { requestId, expiresAtTick }] of this.#pending) {
      if (expiresAtTick > this.#tick) break;
      expired.push(requestId);
      this.#pending.delete(wireId);
    }
    return expired;
  }

  /** Takes out everything: the leader that was asked is gone. */
  abandon(): number[] {
    const ids = [...this.#pending.values()].map(({ requestId }) => requestId);
    this.#pending.clear();
    return ids;
  }
}
