import { NoReadIndexError } from './driver_errors.ts';
import { UnavailableError } from './errors.ts';
import type { ReadState } from './raft/types.ts';

const maxWaiting = 65_536;
/** Rounds under way; reads that come meanwhile share the next one. */
const maxRounds = 2;

interface Waiter {
  readonly deadlineMs: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/**
 * Reads that wait for a read index and then for the state to reach it. A round serves every read that came before it
 * began; a read that comes later needs another, for what was acknowledged in between.
 */
export class ReadBarriers {
  readonly #ask: (requestId: number) => void;
  #waiting: Waiter[] = [];
  readonly #rounds = new Map<number, readonly Waiter[]>();
  #confirmed: { readonly index: number; readonly waiters: readonly Waiter[] }[] = [];
  #count = 0;
  #nextRound = 1;

  /** @param ask starts a round; its answer comes by `answer`. */
  constructor(ask: (requestId: number) => void) {
    this.#ask = ask;
  }

  /** Reads that wait. */
  get count(): number {
    return this.#count;
  }

  /** @param deadlineMs on the driver's clock. */
  wait(deadlineMs: number): Promise<void> {
    if (this.#count >= maxWaiting) throw new UnavailableError('too many reads wait already');
    this.#count++;
    return new Promise<void>((resolve, reject) => {
      this.#waiting.push({ deadlineMs, resolve, reject });
    }).finally(() => {
      this.#count--;
    });
  }

  /** Asks for all that wait, unless enough rounds are under way. */
  startRound(): void {
    if (this.#waiting.length === 0 || this.#rounds.size >= maxRounds) return;
    const requestId = this.#nextRound++;
    this.#rounds.set(requestId, this.#waiting);
    this.#waiting = [];
    this.#ask(requestId);
  }

  answer(read: ReadState, applied: number): void {
    const waiters = this.#rounds.get(read.requestId);
    if (waiters === undefined) return;
    this.#rounds.delete(read.requestId);
    if (!read.ok) {
      for (const waiter of waiters) waiter.reject(new NoReadIndexError('no leader answered the read'));
    } else if (read.index <= applied) {
      for (const waiter of waiters) waiter.resolve();
    } else {
      this.#confirmed.push({ index: read.index, waiters });
    }
  }

  /** The state has come as far as `index`. */
  applied(index: number): void {
    if (this.#confirmed.length === 0) return;
    const reached = this.#confirmed.filter((round) => round.index <= index);
    this.#confirmed = this.#confirmed.filter((round) => round.index > index);
    for (const { waiters } of reached) for (const waiter of waiters) waiter.resolve();
  }

  expire(nowMs: number): void {
    const inTime = (waiter: Waiter): boolean => {
      if (waiter.deadlineMs > nowMs) return true;
      waiter.reject(new UnavailableError('the read was not confirmed before its deadline'));
      return false;
    };
    this.#waiting = this.#waiting.filter(inTime);
    for (const [id, waiters] of this.#rounds) this.#rounds.set(id, waiters.filter(inTime));
    this.#confirmed = this.#confirmed.map(({ index, waiters }) => ({
      index,
      waiters: waiters.filter(inTime),
    }));
  }

  refuseAll(error: Error): void {
    const all = [
      ...this.#waiting,
      ...[...this.#rounds.values()].flat(),
      ...this.#confirmed.flatMap((c) => c.waiters),
    ];
    this.#waiting = [];
    this.#rounds.clear();
    this.#confirmed = [];
    for (const waiter of all) waiter.reject(error);
  }
}
