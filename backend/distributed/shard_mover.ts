import type { ContentId } from '../data_store.ts';
import { decodeLocator, encodeLocator, type ContentLayout } from './locator.ts';
import { keepIndexes } from './placement.ts';
import { isShardDamaged, isShardMissing, type ShardNode } from './ports.ts';
import { copyShard, rebuildShards, surveyShards, type RepairContext } from './repair_content.ts';
import { repairContext, type RepairerOptions } from './repairer.ts';
import { notRetired, retiredPrefixOf, retireOperation } from './retired_rows.ts';
import { withDeadline } from './waiting.ts';

/**
 * What became of content that was to be placed anew: `placed` (now, or already), `gone` (deleted), `waiting` (a node
 * that it takes does not answer, or has to be freed of an earlier shard first).
 */
export interface MoveOutcome {
  readonly state: 'placed' | 'gone' | 'waiting';
  /** Bytes of shards that were moved. */
  readonly movedBytes: number;
}

/** The nodes that content should lie on, in order of preference; all of them take new shards. */
export type PlacementGoal = (contentId: ContentId) => readonly ShardNode[];

interface Move {
  readonly index: number;
  /** Where it is now; undefined where no member has it. */
  readonly from: ShardNode | undefined;
  readonly to: ShardNode;
}

/** The placement that content should have: what can stay stays, and where no node is left a shard stays as well. */
export function wantedPlacement(
  content: ContentLayout,
  goal: readonly { readonly id: number }[],
): (number | null)[] {
  const chosen = goal.slice(0, content.data + content.parity).map((node) => node.id);
  return keepIndexes(content.placement, chosen).map((id, index) => id ?? content.placement[index] ?? null);
}

/** Whether content lies where it should. */
export function isPlaced(content: ContentLayout, goal: readonly { readonly id: number }[]): boolean {
  if (content.sizeBytes === 0) return true;
  return wantedPlacement(content, goal).every((id, index) => id === content.placement[index]);
}

/**
 * Moves shards from node to node: copies them (or rebuilds them, where the old node doesn't answer), then changes the
 * placement by compare-and-set, and leaves the old shards to be freed later. At no moment has the content fewer
 * shards than before. Doing it twice, or twice at once, does no harm.
 */
export class ShardMover {
  readonly #options: RepairerOptions;

  constructor(options: RepairerOptions) {
    this.#options = options;
  }

  /** @throws UnavailableError, ContentDamagedError, and errors of the state: the content is where it was */
  async place(
    contentId: ContentId,
    options: { readonly goal: PlacementGoal; readonly signal: AbortSignal },
  ): Promise<MoveOutcome> {
    const { contents, epochs, clock } = this.#options;
    const locator = await contents.find(contentId);
    if (locator === undefined) return { state: 'gone', movedBytes: 0 };
    const content = decodeLocator(locator);
    if (isPlaced(content, options.goal(contentId))) return { state: 'placed', movedBytes: 0 };
    const use = await epochs.acquire();
    try {
      // After the epoch: it is for members as they are now.
      const planned = this.#moves(content, options.goal(contentId));
      const retired = await this.#retired(contentId);
      const moves = planned.filter(
        (move) => move.to.state() === 'up' && !retired.has(`${move.index}/${move.to.id}`),
      );
      if (moves.length === 0) return { state: planned.length === 0 ? 'placed' : 'waiting', movedBytes: 0 };
      const context = this.#context(content, options.signal);
      const oldEpochs = await this.#copy(context, { moves, epoch: use.epoch });
      const placement = content.placement.map(
        (id, index) => moves.find((move) => move.index === index)?.to.id ?? id,
      );
      const retiredMs = clock.nowMs();
      const replaced = await contents.replace({
        contentId,
        from: locator,
        to: encodeLocator({ ...content, placement, layout: content.layout + 1 }),
        conditions: [
          use.condition,
          ...moves.map((move) => notRetired({ contentId, index: move.index, node: move.to.id })),
        ],
        operations: moves.flatMap((move) =>
          move.from === undefined
            ? []
            : [
                retireOperation(
                  { contentId, index: move.index, node: move.from.id },
                  { retiredMs, epoch: oldEpochs.get(move.index) },
                ),
              ],
        ),
      });
      const { shardBytes } = context;
      if (replaced) {
        return {
          state: moves.length === planned.length ? 'placed' : 'waiting',
          movedBytes: moves.length * shardBytes,
        };
      }
      // Another one may have placed the very same shards: what nobody names is found by the audit.
      const gone = (await contents.find(contentId)) === undefined;
      if (gone) await this.#remove(contentId, moves);
      return { state: gone ? 'gone' : 'waiting', movedBytes: 0 };
    } finally {
      use.release();
    }
  }

  #moves(content: ContentLayout, goal: readonly ShardNode[]): Move[] {
    const members = new Map(this.#options.nodes().map((node) => [node.id, node]));
    return wantedPlacement(content, goal).flatMap((id, index) => {
      const now = content.placement[index] ?? null;
      const to = id === null ? undefined : members.get(id);
      if (id === now || to === undefined) return [];
      return [{ index, from: now === null ? undefined : members.get(now), to }];
    });
  }

  /** Which places of the content wait to be freed, as `index/node`. */
  async #retired(contentId: ContentId): Promise<ReadonlySet<string>> {
    const prefix = retiredPrefixOf(contentId);
    const page = await this.#options.state.scan({ table: 'state', prefix, limit: 1000 });
    return new Set(
      page.items.map(({ key }) => {
        const tail = Buffer.from(key.subarray(prefix.length));
        return `${tail.readUInt8(0)}/${tail.readUInt32BE(1)}`;
      }),
    );
  }

  #context(content: ContentLayout, signal: AbortSignal): RepairContext {
    const members = new Map(this.#options.nodes().map((node) => [node.id, node]));
    const nodes = content.placement.map((id) => (id === null ? undefined : members.get(id)));
    return repairContext(this.#options, { content, nodes, signal });
  }

  /** Puts every shard on its new node; resolves with the epochs of the old ones, by index, where they are known. */
  async #copy(
    context: RepairContext,
    work: { readonly moves: readonly Move[]; readonly epoch: bigint },
  ): Promise<ReadonlyMap<number, bigint>> {
    const oldEpochs = new Map<number, bigint>();
    const left: Move[] = [];
    for (const move of work.moves) {
      const epoch = await this.#copyOne(context, { ...work, move });
      if (epoch === undefined) left.push(move);
      else oldEpochs.set(move.index, epoch);
    }
    if (left.length > 0) {
      const survey = await surveyShards(context, []);
      const targets = left.map((move) => ({ index: move.index, node: move.to }));
      await rebuildShards(context, { survey, targets, epoch: work.epoch });
    }
    return oldEpochs;
  }

  /** Undefined: the old node does not have it, or does not answer. */
  async #copyOne(
    context: RepairContext,
    work: { readonly move: Move; readonly epoch: bigint },
  ): Promise<bigint | undefined> {
    const { move, epoch } = work;
    if (move.from?.state() !== 'up') return undefined;
    const { clock, timing, content } = context;
    const key = { objectHash: content.contentId, index: move.index };
    try {
      const stat = await withDeadline(move.from.storage.stat(key), { clock, ms: timing.callMs });
      if (stat?.sizeBytes !== context.shardBytes) return undefined;
      await copyShard(context, { index: move.index, from: move.from, to: move.to, epoch });
      return stat.epoch;
    } catch (error) {
      if (isShardDamaged(error) || isShardMissing(error)) return undefined;
      // What the target refuses, it would refuse again.
      if (move.from.state() === 'up') throw error;
      return undefined;
    }
  }

  async #remove(objectHash: ContentId, moves: readonly Move[]): Promise<void> {
    const { clock, timing, logger } = this.#options;
    for (const { index, to } of moves) {
      try {
        await withDeadline(to.storage.delete({ objectHash, index }), { clock, ms: timing.callMs });
      } catch (error) {
        logger.warn({ err: error, node: to.id }, 'a moved shard that nobody needs was left behind');
      }
    }
  }
}
