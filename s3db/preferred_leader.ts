import type { ReplicaId, Status } from './raft/types.ts';

interface PreferredLeaderOptions {
  /** For so long must this replica have led and the preferred one been fit before anything is done. Default 10 s. */
  readonly settleMs?: number;
  /** Between one hand-over and the next; doubles with each that didn't last, up to 20 times as long. Default 30 s. */
  readonly pauseMs?: number;
}

const defaultSettleMs = 10_000;
const defaultPauseMs = 30_000;
const mostPauses = 20;
/** A replica that lacks more than this is catching up: it could not lead at once. */
const mostLagEntries = 1000;

/**
 * Decides when a leader that isn't preferred hands over to one that is (`leader = true` in its `[[db]]`). It waits until things
 * have settled, and each hand-over makes the next one wait longer, so that a preferred replica that can't keep
 * leadership doesn't make the cluster restless.
 */
export class PreferredLeader {
  readonly #settleMs: number;
  readonly #pauseMs: number;
  #leadingSinceMs: number | undefined;
  readonly #fitSinceMs = new Map<ReplicaId, number>();
  #nextMs = -Infinity;
  #nextPauseMs: number;

  constructor(options: PreferredLeaderOptions = {}) {
    this.#settleMs = options.settleMs ?? defaultSettleMs;
    this.#pauseMs = options.pauseMs ?? defaultPauseMs;
    this.#nextPauseMs = this.#pauseMs;
  }

  /**
   * To be asked about once a second. @returns to whom leadership is to go now.
   * @param preferred those that are connected.
   */
  choose(status: Status, preferred: readonly ReplicaId[], nowMs: number): ReplicaId | undefined {
    if (status.role !== 'leader' || preferred.includes(status.id)) {
      this.#leadingSinceMs = undefined;
      this.#fitSinceMs.clear();
      return undefined;
    }
    this.#leadingSinceMs ??= nowMs;
    const fit = new Set(preferred.filter((id) => isFit(status, id)));
    for (const id of this.#fitSinceMs.keys()) if (!fit.has(id)) this.#fitSinceMs.delete(id);
    for (const id of fit) if (!this.#fitSinceMs.has(id)) this.#fitSinceMs.set(id, nowMs);
    const settled = (sinceMs: number): boolean => nowMs - sinceMs >= this.#settleMs;
    if (nowMs < this.#nextMs || !settled(this.#leadingSinceMs) || status.transferee !== 0n) return undefined;
    const [chosen] = [...this.#fitSinceMs].find(([, sinceMs]) => settled(sinceMs)) ?? [];
    if (chosen === undefined) return undefined;
    // Quiet for long: what happened before no longer counts.
    if (nowMs - this.#nextMs > mostPauses * this.#pauseMs) this.#nextPauseMs = this.#pauseMs;
    this.#nextMs = nowMs + this.#nextPauseMs;
    this.#nextPauseMs = Math.min(2 * this.#nextPauseMs, mostPauses * this.#pauseMs);
    return chosen;
  }
}

function isFit(status: Status, id: ReplicaId): boolean {
  const progress = status.progress.find((one) => one.id === id);
  if (progress === undefined || progress.learner || !progress.active) return false;
  return progress.state === 'replicate' && status.lastIndex - progress.match <= mostLagEntries;
}
