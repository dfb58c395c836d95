import { invariant } from './invariant.ts';
import type { LogIndex, ProgressStatus, ReplicaId } from './types.ts';

/**
 * What a leader knows of one follower, and how it sends to it.
 *
 * - `probe`: it is not known where the logs meet. One append at a time, until one is accepted.
 * - `replicate`: they met at `match`. Appends are pipelined: `next` runs ahead of `match` by the window.
 * - `snapshot`: what the follower needs was compacted. Nothing is sent until the snapshot's outcome is known.
 */
export class Progress {
  readonly id: ReplicaId;
  learner: boolean;
  /** The highest index that the follower has durably and equal to ours. Never goes back. */
  match: LogIndex = 0;
  /** What to send next; always above `match`. */
  next: LogIndex;
  state: 'probe' | 'replicate' | 'snapshot' = 'probe';
  /** Heard from in this check-quorum round. A new one counts as heard, so that it has a full round's time. */
  active = true;
  /** Heard from in the round before this one. */
  wasActive = false;
  /** The highest commit index sent to it. */
  sentCommit: LogIndex = 0;
  /** Send an append even if it is empty: its refusal tells of a loss. */
  nudge = false;
  /** In `probe`: one is under way, or the last snapshot failed; wait for a sign of life. */
  waiting = false;
  /** In `snapshot`: the index asked for. */
  snapshotIndex: LogIndex = 0;
  /** Last index of each append under way, ascending. At most the window's size. */
  #inflight: LogIndex[] = [];
  readonly #window: number;

  constructor(id: ReplicaId, options: { next: LogIndex; learner: boolean; window: number }) {
    this.id = id;
    this.next = options.next;
    this.learner = options.learner;
    this.#window = options.window;
  }

  /** Heard from in this check-quorum round or the one before. */
  get live(): boolean {
    return this.active || this.wasActive;
  }

  get windowFull(): boolean {
    return this.#inflight.length >= this.#window;
  }

  /** An append that ended at `last` (at `next - 1` when empty) left. */
  sent(last: LogIndex, commit: LogIndex): void {
    this.nudge = false;
    this.sentCommit = Math.max(this.sentCommit, commit);
    if (this.state === 'probe') {
      this.waiting = true;
    } else if (last >= this.next) {
      invariant(!this.windowFull, 'the window is respected');
      this.#inflight.push(last);
      this.next = last + 1;
    }
  }

  /** @returns whether `match` moved. */
  accepted(index: LogIndex): boolean {
    const moved = index > this.match;
    if (moved) this.match = index;
    if (this.next <= index) this.next = index + 1;
    let done = 0;
    while (done < this.#inflight.length && (this.#inflight[done] ?? 0) <= index) done++;
    if (done > 0) this.#inflight.splice(0, done);
    return moved;
  }

  /**
   * An append at `prev` was refused; look again at `hint`.
   * @returns false for a refusal that came late and says nothing new.
   */
  refused(prev: LogIndex, hint: LogIndex): boolean {
    if (prev <= this.match) return false;
    if (this.state === 'replicate') {
      // Something under way was lost or overtaken: what match says still holds.
      this.probe(this.match + 1);
      return true;
    }
    if (this.state !== 'probe' || prev !== this.next - 1) return false;
    this.next = Math.max(this.match + 1, Math.min(prev, hint + 1));
    this.waiting = false;
    return true;
  }

  probe(next: LogIndex): void {
    this.#enter('probe');
    this.next = Math.max(next, this.match + 1);
  }

  replicate(): void {
    this.#enter('replicate');
    this.next = this.match + 1;
  }

  snapshot(index: LogIndex): void {
    this.#enter('snapshot');
    this.snapshotIndex = index;
  }

  status(): ProgressStatus {
    const { id, match, next, state, snapshotIndex, active, live, learner } = this;
    return {
      id,
      match,
      next,
      state,
      snapshotIndex,
      active,
      live,
      learner,
      inflightMessages: this.#inflight.length,
    };
  }

  #enter(state: 'probe' | 'replicate' | 'snapshot'): void {
    this.state = state;
    this.waiting = false;
    this.nudge = false;
    this.snapshotIndex = 0;
    this.#inflight = [];
  }
}
