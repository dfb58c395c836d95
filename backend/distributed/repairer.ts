import type { Clock } from '../clock.ts';
import type { ContentId, Locator } from '../data_store.ts';
import type { GlobalState } from '../global_state.ts';
import type { ContentIndex } from './content_index.ts';
import type { Epochs } from './epochs.ts';
import type { CodecFactory } from './erasure/codec_factory.ts';
import { decodeLocator, encodeLocator } from './locator.ts';
import type { ContentLayout } from './locator.ts';
import type { BytePace } from './pace.ts';
import type { Logger, Membership, ShardNode, Timing } from './ports.ts';
import { rebuildShards, surveyShards } from './repair_content.ts';
import type { RepairContext } from './repair_content.ts';
import type { RepairRow } from './repair_rows.ts';
import { notRetired } from './retired_rows.ts';
import { shardLength } from './stripes.ts';
import { withDeadline } from './waiting.ts';

/** What repairing and moving shards works with. */
export interface RepairerOptions {
  readonly contents: ContentIndex;
  readonly epochs: Epochs;
  readonly codecs: CodecFactory;
  readonly state: GlobalState;
  /** All members. */
  readonly nodes: Membership;
  /** Those that take new shards, in order of preference for the content. */
  readonly order: (id: ContentId) => readonly ShardNode[];
  readonly pace: BytePace;
  readonly clock: Clock;
  readonly timing: Timing;
  readonly logger: Logger;
}

/**
 * What became of content that was to be repaired: `whole` (now, or already), `gone` (deleted: nothing to repair),
 * `waiting` (some of it is on nodes that don't answer, or has no node to go to).
 */
type RepairOutcome = 'whole' | 'gone' | 'waiting';

/**
 * Makes content whole: looks for itself what is missing, rebuilds it from any K shards and puts it back on its node,
 * or on another member where that one is gone for good. Doing it twice, or twice at once, does no harm.
 */
export class Repairer {
  readonly #options: RepairerOptions;

  constructor(options: RepairerOptions) {
    this.#options = options;
  }

  /**
   * `suspected` are indexes of shards that may be damaged though their nodes have them.
   * @throws ContentDamagedError when fewer than K good shards are left, UnavailableError and errors of the state.
   */
  async repair(
    contentId: ContentId,
    options: { readonly suspected: readonly number[]; readonly signal: AbortSignal },
  ): Promise<RepairOutcome> {
    const { contents, epochs } = this.#options;
    const locator = await contents.find(contentId);
    if (locator === undefined) return 'gone';
    const content = decodeLocator(locator);
    if (content.sizeBytes === 0) return 'whole';
    const members = new Map(this.#options.nodes().map((node) => [node.id, node]));
    const nodes = content.placement.map((id) => (id === null ? undefined : members.get(id)));
    const context = repairContext(this.#options, { content, nodes, signal: options.signal });
    const survey = await surveyShards(context, options.suspected);
    const targets = this.#targets(content, { nodes, lost: survey.lost });
    const complete = survey.unknown.length === 0 && targets.length === survey.lost.length;
    if (targets.length > 0) {
      const use = await epochs.acquire();
      try {
        await rebuildShards(context, { survey, targets, epoch: use.epoch });
        const moved = targets.filter((target) => target.node.id !== content.placement[target.index]);
        const kept =
          moved.length === 0
            ? (await contents.find(contentId)) !== undefined
            : await contents.replace({
                contentId,
                from: locator,
                to: movedLocator(content, moved),
                // Where an earlier shard waits to be freed, it is freed first.
                conditions: [
                  use.condition,
                  ...moved.map(({ index, node }) => notRetired({ contentId, index, node: node.id })),
                ],
              });
        if (!kept) {
          // Deleted, or moved meanwhile, perhaps to just where it was stored: then the audit knows what nobody names.
          const gone = (await contents.find(contentId)) === undefined;
          if (gone) await this.#remove(contentId, targets);
          return gone ? 'gone' : 'waiting';
        }
      } finally {
        use.release();
      }
    }
    return complete ? 'whole' : 'waiting';
  }

  /** Whether there is something to be done now for what the row says, as far as that shows without asking anyone. */
  isWorthwhile(row: RepairRow): boolean {
    const content = decodeLocator(row.locator);
    const members = new Map(this.#options.nodes().map((node) => [node.id, node]));
    return row.missing.some((index) => {
      const id = content.placement[index];
      const node = id === null || id === undefined ? undefined : members.get(id);
      return node === undefined || node.state() === 'up';
    });
  }

  /** Where each lost shard goes: to its own node, or to the next member that holds none of the content. */
  #targets(
    content: ContentLayout,
    shards: { readonly nodes: readonly (ShardNode | undefined)[]; readonly lost: readonly number[] },
  ): { readonly index: number; readonly node: ShardNode }[] {
    const used = new Set(
      content.placement.filter((id, index) => shards.nodes[index] !== undefined && id !== null),
    );
    const spares = this.#options
      .order(content.contentId)
      .filter((node) => !used.has(node.id) && node.state() === 'up')
      .values();
    return shards.lost.flatMap((index) => {
      const node = shards.nodes[index] ?? spares.next().value;
      return node === undefined || node.state() !== 'up' ? [] : [{ index, node }];
    });
  }

  async #remove(
    objectHash: ContentId,
    shards: readonly { readonly index: number; readonly node: ShardNode }[],
  ): Promise<void> {
    const { clock, timing, logger } = this.#options;
    for (const { index, node } of shards) {
      try {
        await withDeadline(node.storage.delete({ objectHash, index }), { clock, ms: timing.callMs });
      } catch (error) {
        logger.warn({ err: error, node: node.id }, 'a rebuilt shard that nobody needs was left behind');
      }
    }
  }
}

/** What work on one content needs to know. */
export function repairContext(
  options: RepairerOptions,
  of: {
    readonly content: ContentLayout;
    readonly nodes: readonly (ShardNode | undefined)[];
    readonly signal: AbortSignal;
  },
): RepairContext {
  const { codecs, clock, timing, pace } = options;
  return {
    content: of.content,
    codec: codecs.codec(of.content),
    nodes: of.nodes,
    clock,
    timing,
    pace: (bytes) => pace.take(bytes, of.signal),
    signal: of.signal,
    shardBytes: shardLength(of.content),
  };
}

function movedLocator(
  content: ContentLayout,
  moved: readonly { readonly index: number; readonly node: ShardNode }[],
): Locator {
  const placement = content.placement.map(
    (id, index) => moved.find((target) => target.index === index)?.node.id ?? id,
  );
  return encodeLocator({ ...content, placement, layout: content.layout + 1 });
}
