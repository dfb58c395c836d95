import { statfs } from 'node:fs/promises';
import type { ScanPage, ScanRequest } from './database.ts';
import type { RaftDriver } from './driver.ts';
import {
  LeadershipLostError,
  NoReadIndexError,
  NotLeaderError,
  ReplicaFailedError,
} from './driver_errors.ts';
import { StorageFullError, UnavailableError, UnknownOutcomeError } from './errors.ts';
import type { ReplicaId, Status } from './raft/types.ts';
import type { Outcome } from './request_memory.ts';
import type { StateMachine } from './state_machine.ts';

/** A write as it passes between replicas. */
export interface Write {
  /** The encoded batch. */
  readonly body: Uint8Array;
  readonly requestId: Uint8Array;
  /** Deletes alone go on when the disk is nearly full. */
  readonly makesRoom: boolean;
  /** Part of a restore: the only writes while one is under way. */
  readonly ofRestore?: boolean;
}

/** Carries a write to the leader. The errors are those of `Replica.writeAsLeader`, or any other when it isn't known. */
type ForwardWrite = (to: ReplicaId, write: Write, timeoutMs: number) => Promise<Outcome>;

interface ReplicaOptions {
  readonly driver: RaftDriver;
  readonly state: StateMachine;
  readonly directory: string;
  readonly forward: ForwardWrite;
  /** Below this much free space only deletes are let in. Default 256 MiB. */
  readonly reserveBytes?: number;
}

const defaultReserveBytes = 256 * 1024 * 1024;
const freeSpaceCheckMs = 1000;
const maxRememberedRequests = 6_000_000;
const retryPauseMs = 20;
/** An attempt to forward is given up after this, so that a leader that died doesn't take the whole deadline. */
const forwardTimeoutMs = 1500;

/** Why nothing is served. */
export const restoring = 'a backup is being restored, or a restore was not finished';

/** Reads and writes at one replica, whoever leads. */
export class Replica {
  readonly #options: ReplicaOptions;
  readonly #waiting = new Set<() => void>();
  #free = { bytes: Infinity, checkedMs: -Infinity };

  constructor(options: ReplicaOptions) {
    this.#options = options;
  }

  status(): Status {
    return this.#options.driver.status();
  }

  /** To be called when the driver's status may have changed. */
  changed(): void {
    if (this.#waiting.size === 0 || this.status().leader === 0n) return;
    for (const wake of this.#waiting) wake();
  }

  /**
   * Takes a write to the leader, again and again under its request id until the deadline.
   * @throws UnavailableError: it was not applied. UnknownOutcomeError: it may be. ReplicaFailedError.
   */
  async write(write: Write, timeoutMs: number): Promise<Outcome> {
    const deadlineMs = performance.now() + timeoutMs;
    let mayBeApplied = false;
    for (;;) {
      const { leader, id } = this.status();
      try {
        if (leader === id) return await this.writeAsLeader(write, deadlineMs);
        if (leader !== 0n) {
          const leftMs = deadlineMs - performance.now();
          if (leftMs > 0) {
            return await this.#options.forward(leader, write, Math.min(leftMs, forwardTimeoutMs));
          }
        }
      } catch (error) {
        const isOver = error instanceof UnavailableError || error instanceof ReplicaFailedError;
        if (isOver && mayBeApplied) {
          throw new UnknownOutcomeError(`an earlier attempt may be applied; then: ${error.message}`);
        }
        if (!isRetryable(error)) throw error;
        if (!(error instanceof NotLeaderError)) mayBeApplied = true;
      }
      if (performance.now() >= deadlineMs) {
        throw mayBeApplied
          ? new UnknownOutcomeError('the write was sent to a leader that did not answer in time')
          : new UnavailableError('no leader took the write in time');
      }
      await this.#pause(deadlineMs, leader);
    }
  }

  /** @param deadlineMs on the `performance` clock. @throws what `RaftDriver.propose` does. */
  async writeAsLeader(write: Write, deadlineMs: number): Promise<Outcome> {
    const { driver, state } = this.#options;
    if (state.cluster.restore !== undefined && write.ofRestore !== true)
      throw new UnavailableError(restoring);
    if (state.rememberedRequests > maxRememberedRequests) {
      throw new UnavailableError('too many writes within the window in which they are remembered');
    }
    if (!write.makesRoom && (await this.freeBytes()) < this.reserveBytes) {
      throw new StorageFullError('the disk of the leader is nearly full: only deletes are taken');
    }
    const timestampMs = Date.now();
    const { requestId, body } = write;
    return driver.propose(state.encodeCommand({ timestampMs, requestId, body }), deadlineMs);
  }

  async get(table: string, key: Uint8Array): Promise<Uint8Array | undefined> {
    return this.#options.state.get(table, key);
  }

  async getMany(
    gets: readonly { readonly table: string; readonly key: Uint8Array }[],
  ): Promise<readonly (Uint8Array | undefined)[]> {
    return this.#options.state.getMany(gets);
  }

  async scan(request: ScanRequest): Promise<ScanPage> {
    return this.#options.state.scan(request);
  }

  /** Resolves once a read here sees every write acknowledged before the call. @throws UnavailableError */
  async readBarrier(timeoutMs: number): Promise<void> {
    const deadlineMs = performance.now() + timeoutMs;
    for (;;) {
      try {
        await this.#options.driver.readBarrier(deadlineMs);
        return;
      } catch (error) {
        if (!(error instanceof NoReadIndexError)) throw error;
      }
      if (performance.now() >= deadlineMs) throw new UnavailableError('no leader confirmed the read in time');
      await this.#pause(deadlineMs, this.status().leader);
    }
  }

  /** Resolves with a leader's id once one is known. @throws UnavailableError */
  async leader(timeoutMs: number): Promise<ReplicaId> {
    const deadlineMs = performance.now() + timeoutMs;
    for (;;) {
      const { leader } = this.status();
      if (leader !== 0n) return leader;
      if (performance.now() >= deadlineMs) throw new UnavailableError('there is no leader');
      await this.#pause(deadlineMs, leader);
    }
  }

  /** A moment, or until there is a leader where there was none. */
  async #pause(deadlineMs: number, leader: ReplicaId): Promise<void> {
    const leftMs = Math.max(0, deadlineMs - performance.now());
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, Math.min(leftMs, leader === 0n ? leftMs : retryPauseMs));
      if (leader === 0n) this.#waiting.add(wake);
    });
  }

  /** Of the disk, not older than a second. */
  async freeBytes(): Promise<number> {
    const nowMs = performance.now();
    if (nowMs - this.#free.checkedMs > freeSpaceCheckMs) {
      this.#free = { ...this.#free, checkedMs: nowMs };
      const { bavail, bsize } = await statfs(this.#options.directory);
      this.#free = { bytes: bavail * bsize, checkedMs: nowMs };
    }
    return this.#free.bytes;
  }

  /** As last looked at; undefined: not yet. */
  get lastFreeBytes(): number | undefined {
    return this.#free.bytes === Infinity ? undefined : this.#free.bytes;
  }

  /** Below so much free space only deletes are taken. */
  get reserveBytes(): number {
    return this.#options.reserveBytes ?? defaultReserveBytes;
  }
}

/** Another attempt under the same request id may do better; what came of this one doesn't matter then. */
function isRetryable(error: unknown): boolean {
  return (
    error instanceof NotLeaderError ||
    error instanceof LeadershipLostError ||
    error instanceof ForwardFailedError
  );
}

/** A forwarded write met a broken or silent connection. It may be applied. */
export class ForwardFailedError extends Error {
  override readonly name = 'ForwardFailedError';
}
