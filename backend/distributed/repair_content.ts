import { UnavailableError } from '../../s3db/errors.ts';
import type { Clock } from '../clock.ts';
import { ContentDamagedError } from '../data_store.ts';
import type { Codec, Pieces } from './erasure/codec.ts';
import type { ContentLayout } from './locator.ts';
import { isShardDamaged, isShardMissing } from './ports.ts';
import type { ShardNode, Timing } from './ports.ts';
import { ShardFetch } from './shard_fetch.ts';
import { ShardPut } from './shard_put.ts';
import { blockLength, shardLength, stripeBytes, stripeCount } from './stripes.ts';
import { withDeadline } from './waiting.ts';

/** Content that is fetched at once, unless a single stripe is more. */
const windowBytes = 4 * 1024 * 1024;

/** What shards there are of some content. */
interface ShardSurvey {
  /** There, with the right size. */
  readonly present: readonly number[];
  /** On no node, damaged, or on a node that is a member no more. */
  readonly lost: readonly number[];
  /** On nodes that don't answer. */
  readonly unknown: readonly number[];
}

export interface RepairContext {
  readonly content: ContentLayout;
  readonly codec: Codec;
  /** The node of each shard; undefined where there is none any more. */
  readonly nodes: readonly (ShardNode | undefined)[];
  readonly clock: Clock;
  readonly timing: Timing;
  /** Waits until so many more bytes may be moved. */
  readonly pace: (bytes: number) => Promise<void>;
  readonly signal: AbortSignal;
  /** Of each shard. */
  readonly shardBytes: number;
}

/** Asks every node for its shard; those in `suspected` are read as well, since a node may not know of its damage. */
export async function surveyShards(
  context: RepairContext,
  suspected: readonly number[],
): Promise<ShardSurvey> {
  const findings = await Promise.all(
    context.nodes.map(async (node, index) => {
      if (node === undefined) return 'lost';
      if (node.state() === 'down') return 'unknown';
      try {
        return await surveyOne(context, { node, index, read: suspected.includes(index) });
      } catch (error) {
        return isShardDamaged(error) || isShardMissing(error) ? 'lost' : 'unknown';
      }
    }),
  );
  const where = (finding: 'present' | 'lost' | 'unknown'): number[] =>
    findings.flatMap((found, index) => (found === finding ? [index] : []));
  return { present: where('present'), lost: where('lost'), unknown: where('unknown') };
}

async function surveyOne(
  context: RepairContext,
  shard: { readonly node: ShardNode; readonly index: number; readonly read: boolean },
): Promise<'present' | 'lost'> {
  const { content, clock, timing } = context;
  const { node, index } = shard;
  const key = { objectHash: content.contentId, index };
  const stat = await withDeadline(node.storage.stat(key), { clock, ms: timing.callMs });
  if (stat?.sizeBytes !== shardLength(content)) return 'lost';
  if (shard.read) {
    for (const window of windows(content)) await fetchCuts(context, { node, index, window });
  }
  return 'present';
}

/** A shard that is to be stored on a node. */
interface ShardTarget {
  readonly index: number;
  readonly node: ShardNode;
}

/**
 * Builds the shards of `targets` anew from any K that are present, and stores them.
 * @throws ContentDamagedError when fewer than K are good, UnavailableError when a target doesn't take its shard.
 */
export async function rebuildShards(
  context: RepairContext,
  work: {
    readonly survey: ShardSurvey;
    readonly targets: readonly ShardTarget[];
    readonly epoch: bigint;
  },
): Promise<void> {
  const { content, codec } = context;
  const wanted = work.targets.map((target) => target.index);
  const sources = new Sources(context, work.survey.present);
  await storeShards(context, {
    ...work,
    blocksOf: async (window) => {
      const blocks = await sources.fetch(window);
      return window.stripes.map((stripe, i) => {
        const present = blocks.map((cuts) => cuts?.[i]);
        const rebuilt = codec.reconstruct(present, { wanted, lengthBytes: blockLength(content, stripe) });
        return rebuilt.map((block): Pieces => [block]);
      });
    },
  });
}

/**
 * Copies a shard from one node to another, checked by the one that has it.
 * @throws what the nodes throw, and UnavailableError when one of them is too slow
 */
export async function copyShard(
  context: RepairContext,
  copy: {
    readonly index: number;
    readonly from: ShardNode;
    readonly to: ShardNode;
    readonly epoch: bigint;
  },
): Promise<void> {
  const { index, from, to, epoch } = copy;
  await storeShards(context, {
    epoch,
    targets: [{ index, node: to }],
    blocksOf: async (window) => {
      const cuts = await fetchCuts(context, { node: from, index, window });
      return cuts.map((cut) => [cut]);
    },
  });
}

/** Stores shards window by window; `blocksOf` gives for each stripe the block of each target. */
async function storeShards(
  context: RepairContext,
  work: {
    readonly targets: readonly ShardTarget[];
    readonly epoch: bigint;
    readonly blocksOf: (window: Window) => Promise<readonly (readonly Pieces[])[]>;
  },
): Promise<void> {
  const { content, clock } = context;
  let changed = Promise.withResolvers<undefined>();
  const puts = work.targets.map(
    ({ index, node }) =>
      new ShardPut({
        node,
        index,
        contentId: content.contentId,
        epoch: work.epoch,
        blockSizeBytes: Math.min(content.blockSizeBytes, blockLength(content, 0)),
        clock,
        onChange: () => {
          const now = changed;
          changed = Promise.withResolvers();
          now.resolve(undefined);
        },
      }),
  );
  const until = async (holds: () => boolean): Promise<void> => {
    for (;;) {
      context.signal.throwIfAborted();
      for (const put of puts) {
        const why = put.overdue(context.timing);
        if (why !== undefined) put.abandon(new UnavailableError(why));
        if (put.phase === 'failed') {
          throw new UnavailableError(`node ${put.node.id} does not take shard ${put.index}`, {
            cause: put.error,
          });
        }
      }
      if (holds()) return;
      const { promise } = changed;
      const cancel = clock.after(context.timing.pollMs, () => {
        changed.resolve(undefined);
        changed = Promise.withResolvers();
      });
      await promise;
      cancel();
    }
  };
  try {
    for (const window of windows(content)) {
      for (const blocks of await work.blocksOf(window)) {
        puts.forEach((put, j) => {
          const block = blocks[j];
          if (block !== undefined) put.push(block);
        });
      }
      await until(() => puts.every((put) => put.backlog === 0));
    }
    for (const put of puts) put.end();
    await until(() => puts.every((put) => put.phase === 'stored'));
  } catch (error) {
    for (const put of puts) put.abandon(error);
    throw error;
  }
}

/** K shards to read from; one that fails is dropped, and another asked for the window again. */
class Sources {
  readonly #context: RepairContext;
  readonly #usable: number[];

  constructor(context: RepairContext, present: readonly number[]) {
    this.#context = context;
    const rank = (index: number): number => (context.nodes[index]?.state() === 'up' ? 0 : 1);
    this.#usable = [...present].sort((a, b) => rank(a) - rank(b) || a - b);
  }

  /** For K shard indexes the blocks of the window's stripes, for the others nothing. */
  async fetch(window: Window): Promise<(Pieces[] | undefined)[]> {
    const { data } = this.#context.content;
    const blocks = new Map<number, Pieces[]>();
    while (blocks.size < data) {
      this.#context.signal.throwIfAborted();
      const asked = this.#usable.filter((index) => !blocks.has(index)).slice(0, data - blocks.size);
      if (asked.length + blocks.size < data) {
        throw new ContentDamagedError(
          `${asked.length + blocks.size} good shards are left, ${data} are needed`,
        );
      }
      await Promise.all(
        asked.map(async (index) => {
          const node = this.#context.nodes[index];
          try {
            if (node === undefined) throw new Error('the shard has no node');
            blocks.set(index, await fetchCuts(this.#context, { node, index, window }));
          } catch {
            // Whatever is wrong with it, the others are asked; the next survey tells what.
            this.#usable.splice(this.#usable.indexOf(index), 1);
          }
        }),
      );
    }
    return this.#context.nodes.map((_, index) => blocks.get(index));
  }
}

/** Neighbouring stripes, read together. */
interface Window {
  readonly stripes: readonly number[];
}

function* windows(content: ContentLayout): Generator<Window, void, undefined> {
  const count = stripeCount(content);
  const perWindow = Math.max(1, Math.floor(windowBytes / stripeBytes(content)));
  for (let first = 0; first < count; first += perWindow) {
    yield { stripes: Array.from({ length: Math.min(perWindow, count - first) }, (_, i) => first + i) };
  }
}

/** The shard's blocks of the window's stripes, checked by their node. */
async function fetchCuts(
  context: RepairContext,
  from: { readonly node: ShardNode; readonly index: number; readonly window: Window },
): Promise<Pieces[]> {
  const { content, clock, timing } = context;
  const cuts = from.window.stripes.map((stripe, part) => ({
    part,
    lengthBytes: blockLength(content, stripe),
  }));
  await context.pace(cuts.reduce((sum, cut) => sum + cut.lengthBytes, 0));
  const blocks: Pieces[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  const fetch = new ShardFetch({
    node: from.node,
    contentId: content.contentId,
    index: from.index,
    shardBytes: shardLength(content),
    offset: (from.window.stripes[0] ?? 0) * content.blockSizeBytes,
    cuts,
    clock,
    onCut: (_, cut) => {
      blocks.push(cut.pieces);
    },
    onEnd: (_, error) => {
      if (error === undefined) resolve(undefined);
      else reject(error instanceof Error ? error : new Error('the node failed', { cause: error }));
    },
  });
  let stop = (): void => undefined;
  const watch = (): void => {
    if (context.signal.aborted) fetch.fail(new Error('the repair was given up'));
    else if (fetch.idleMs() >= timing.stallMs) {
      fetch.fail(new UnavailableError(`node ${from.node.id} sends nothing`));
    } else stop = clock.after(timing.pollMs, watch);
  };
  watch();
  try {
    await promise;
  } finally {
    stop();
  }
  return blocks;
}
