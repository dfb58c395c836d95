import { createHash } from 'node:crypto';

import type { Clock } from '../clock.ts';
import type { GlobalState } from '../global_state.ts';
import type { LeasedRun } from '../lease.ts';
import type { ContentId } from '../data_store.ts';
import { scanPages } from '../state_rows.ts';
import type { ContentIndex } from './content_index.ts';
import { decodeEpochRow, epochPrefix } from './epochs.ts';
import { decodeLocator } from './locator.ts';
import { isEmptying, type Member, type MemberSet } from './members.ts';
import { NodeRings, signatureOf } from './node_rings.ts';
import type { BytePace } from './pace.ts';
import type { Logger, Membership, ShardNode } from './ports.ts';
import {
  decodeRebalanceRow,
  encodeRebalanceRow,
  rebalanceKey,
  type RebalanceReason,
  type RebalanceRow,
} from './rebalance_row.ts';
import { isPlaced, wantedPlacement, type ShardMover } from './shard_mover.ts';

export interface RebalancerOptions {
  readonly mover: Pick<ShardMover, 'place'>;
  readonly contents: ContentIndex;
  readonly state: GlobalState;
  readonly nodes: Membership;
  readonly members: () => MemberSet;
  /** Called when nothing names these members any more; each with the version since which it was to be emptied. */
  readonly onEmptied: (members: readonly Member[]) => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Rows of the metadata that are looked at in a second. */
  readonly pace: BytePace;
  /** The shards of a member that is down for so long are placed elsewhere. */
  readonly downMs: number;
  /** Contents moved at once (default 4). */
  readonly atOnce?: number;
}

/** What a turn came to: `settled` (nothing to do), `more` (time is up), `waiting` (for nodes or for uploads to end). */
export type RebalanceOutcome = 'settled' | 'more' | 'waiting';

const contentsPerPage = 200;

/**
 * Brings content to where the members of today would have it: after one joined, is to be emptied, changed its weight
 * or is down for long. Goes through all content in order of id, from where the last turn (here or in another process)
 * ended; nothing but that place is remembered, so every step may be done twice.
 *
 * A member counts as emptied after a pass that began when no write by an older set of members could be named any more
 * (see `Epochs`), and that found nothing to move.
 */
export class Rebalancer {
  readonly #options: RebalancerOptions;
  readonly #rings = new NodeRings();
  readonly #downSinceMs = new Map<number, number>();

  constructor(options: RebalancerOptions) {
    this.#options = options;
  }

  /** Works for about `turnMs`. */
  async turn(run: LeasedRun & { readonly turnMs: number }): Promise<RebalanceOutcome> {
    const { clock, state } = this.#options;
    const endMs = clock.monotonicMs() + run.turnMs;
    const goal = this.#goal();
    const found = await state.get('state', rebalanceKey);
    let row = found === undefined ? undefined : decodeRebalanceRow(found);
    if (row?.goal !== goal.name) row = await this.#begin(goal, row);
    else if (row.at === undefined) {
      if (isDone(row)) return 'settled';
      if (row.waiting === 0 && !(await this.#isFenced(goal.version))) return 'waiting';
      row = await this.#begin(goal, row);
    }
    for (;;) {
      if (run.signal.aborted || !(await run.keep())) return 'waiting';
      row = await this.#page(row, { goal, signal: run.signal });
      await state.set('state', rebalanceKey, encodeRebalanceRow(row));
      if (row.at === undefined) return this.#finish(row);
      if (clock.monotonicMs() >= endMs) return 'more';
      if (this.#goal().name !== goal.name) return 'more';
    }
  }

  async #begin(goal: Goal, before: RebalanceRow | undefined): Promise<RebalanceRow> {
    const { clock } = this.#options;
    const again = before?.goal === goal.name;
    if (!again) this.#options.logger.info({ reasons: goal.reasons }, 'content is placed anew');
    return {
      goal: goal.name,
      reasons: goal.reasons,
      fenced: await this.#isFenced(goal.version),
      at: new Uint8Array(32),
      startedMs: again ? before.startedMs : clock.nowMs(),
      finishedMs: 0,
      passStartedMs: clock.nowMs(),
      waiting: 0,
      passMoved: 0,
      passMovedBytes: 0,
      movedObjects: again ? before.movedObjects : 0,
      movedBytes: again ? before.movedBytes : 0,
    };
  }

  async #page(
    row: RebalanceRow,
    work: { readonly goal: Goal; readonly signal: AbortSignal },
  ): Promise<RebalanceRow> {
    const { contents, pace } = this.#options;
    await pace.take(contentsPerPage, work.signal);
    const page = await contents.list({ startAfter: row.at, limit: contentsPerPage });
    const queue: ContentId[] = [];
    let { waiting } = row;
    for (const { contentId, locator } of page.contents) {
      const content = decodeLocator(locator);
      const order = work.goal.order(contentId);
      if (!isPlaced(content, order)) queue.push(contentId);
      // It should leave a node, and no other is left for it.
      else if (wantedPlacement(content, order).some((id) => id !== null && work.goal.leaving.has(id)))
        waiting += 1;
    }
    queue.reverse();
    let moved = 0;
    let movedBytes = 0;
    const lanes = Array.from({ length: this.#options.atOnce ?? 4 }, async () => {
      for (let id = queue.pop(); id !== undefined; id = queue.pop()) {
        const outcome = await this.#move(id, work);
        if (outcome.state === 'waiting') waiting += 1;
        if (outcome.movedBytes > 0) moved += 1;
        movedBytes += outcome.movedBytes;
      }
    });
    await Promise.all(lanes);
    work.signal.throwIfAborted();
    return {
      ...row,
      at: page.next,
      waiting,
      passMoved: row.passMoved + moved,
      passMovedBytes: row.passMovedBytes + movedBytes,
      movedObjects: row.movedObjects + moved,
      movedBytes: row.movedBytes + movedBytes,
      finishedMs: page.next === undefined ? this.#options.clock.nowMs() : 0,
    };
  }

  async #move(
    contentId: ContentId,
    work: { readonly goal: Goal; readonly signal: AbortSignal },
  ): ReturnType<ShardMover['place']> {
    const { mover, logger } = this.#options;
    try {
      return await mover.place(contentId, { goal: work.goal.order, signal: work.signal });
    } catch (error) {
      work.signal.throwIfAborted();
      logger.warn(
        { err: error, contentId: Buffer.from(contentId).toString('hex') },
        'content could not be moved yet',
      );
      return { state: 'waiting', movedBytes: 0 };
    }
  }

  async #finish(row: RebalanceRow): Promise<RebalanceOutcome> {
    const { logger, members, onEmptied } = this.#options;
    if (!isDone(row)) return 'waiting';
    logger.info({ objects: row.movedObjects, bytes: row.movedBytes }, 'all content is where it should be');
    const set = members();
    const emptied = set.members.filter((member) => isEmptying(member) && this.#goal().name === row.goal);
    if (emptied.length > 0) await onEmptied(emptied);
    return 'settled';
  }

  /** Whether every write that is yet to be named goes by this version of the members, or a newer one. */
  async #isFenced(version: number): Promise<boolean> {
    for await (const page of scanPages(this.#options.state, {
      table: 'state',
      prefix: epochPrefix,
      limit: 1000,
    })) {
      if (page.items.some((item) => decodeEpochRow(item.value).membersVersion < version)) return false;
    }
    return true;
  }

  /** Where content belongs now. */
  #goal(): Goal {
    const { nodes, members } = this.#options;
    const set = members();
    const all = nodes();
    const lost = this.#lost(all);
    const eligible = all.filter((node) => node.emptying !== true && !lost.includes(node.id));
    const emptying = set.members.filter(isEmptying);
    const version = Math.max(0, ...set.members.map((member) => member.sinceVersion));
    const text = [
      signatureOf(eligible),
      ...emptying.map((member) => `${member.id} since ${member.sinceVersion}`),
    ].join('\n');
    return {
      name: createHash('sha256').update(text).digest('hex').slice(0, 32),
      version,
      emptying,
      leaving: new Set(emptying.map((member) => member.id)),
      reasons: [
        ...emptying.map((member): RebalanceReason => ({ node: member.id, why: member.state })),
        ...lost.map((node): RebalanceReason => ({ node, why: 'down' })),
      ],
      order: (contentId) => this.#rings.order(eligible, contentId),
    };
  }

  /** Members that have been down for too long, seen from here. */
  #lost(nodes: readonly ShardNode[]): number[] {
    const { clock, downMs } = this.#options;
    const nowMs = clock.monotonicMs();
    const lost: number[] = [];
    for (const node of nodes) {
      if (node.state() !== 'down') this.#downSinceMs.delete(node.id);
      else {
        const sinceMs = this.#downSinceMs.get(node.id) ?? nowMs;
        this.#downSinceMs.set(node.id, sinceMs);
        if (nowMs - sinceMs >= downMs) lost.push(node.id);
      }
    }
    return lost;
  }
}

interface Goal {
  /** The same for the same order and the same members to empty. */
  readonly name: string;
  /** Writes by older sets of members may go elsewhere. */
  readonly version: number;
  readonly emptying: readonly Member[];
  /** Their ids. */
  readonly leaving: ReadonlySet<number>;
  readonly reasons: readonly RebalanceReason[];
  readonly order: (contentId: ContentId) => readonly ShardNode[];
}

/** Whether a finished pass found that nothing is left to do, now or later. */
function isDone(row: RebalanceRow): boolean {
  return row.fenced && row.waiting === 0;
}
