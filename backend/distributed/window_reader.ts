import assert from 'node:assert/strict';

import { UnavailableError } from '../../s3db/errors.ts';
import type { Clock } from '../clock.ts';
import { ContentDamagedError, ContentMissingError } from '../data_store.ts';
import type { Codec, Pieces } from './erasure/codec.ts';
import { piecesEqual, slicePieces } from './erasure/pieces.ts';
import type { ContentLayout } from './locator.ts';
import { isShardDamaged, isShardMissing } from './ports.ts';
import type { ShardNode, Timing } from './ports.ts';
import type { ReadPace } from './read_pace.ts';
import { ShardFetch, ShardSizeError } from './shard_fetch.ts';
import { shardLength } from './stripes.ts';
import type { StripePart } from './stripes.ts';

interface WindowOptions {
  readonly content: ContentLayout;
  readonly codec: Codec;
  /** The node of each shard; undefined where there is none any more. */
  readonly nodes: readonly (ShardNode | undefined)[];
  readonly parts: readonly StripePart[];
  readonly clock: Clock;
  readonly timing: Timing;
  readonly pace: ReadPace;
}

/** What is known of one shard. */
interface Shard {
  readonly index: number;
  readonly node: ShardNode | undefined;
  fetch: ShardFetch | undefined;
  /** Why it is not asked any more in this window. */
  verdict: 'missing' | 'damaged' | 'unavailable' | undefined;
  /** For each part of the window: the cut, or that it is bad. */
  readonly cells: (Pieces | 'bad' | undefined)[];
}

interface Part extends StripePart {
  readonly number: number;
  readonly done: PromiseWithResolvers<Pieces>;
  resolved: boolean;
}

/**
 * Reads a few neighbouring stripes at once: each data shard's share of them in one request; where a block is missing,
 * damaged or late, the same cut of other shards. Holds the window's bytes until they are taken, and no stream of a
 * node for longer than it takes to receive them, however slow the client is.
 */
export class WindowReader {
  readonly #options: WindowOptions;
  readonly #shards: readonly Shard[];
  readonly #parts: readonly Part[];
  readonly #shardBytes: number;
  #stopTimer: (() => void) | undefined;
  #over = false;
  #foundSome = false;
  readonly #faulty = new Set<number>();

  constructor(options: WindowOptions) {
    this.#options = options;
    this.#shardBytes = shardLength(options.content);
    this.#parts = options.parts.map((part, number) => {
      const done = Promise.withResolvers<Pieces>();
      // A part that fails before anyone waits for it is no unhandled rejection.
      done.promise.catch(() => undefined);
      return { ...part, number, done, resolved: false };
    });
    this.#shards = options.nodes.map((node, index) => ({
      index,
      node,
      fetch: undefined,
      verdict: node === undefined ? 'unavailable' : undefined,
      cells: new Array<Pieces | 'bad' | undefined>(options.parts.length).fill(undefined),
    }));
    this.#begin();
  }

  /** The content bytes of a part, in order; can be taken once. */
  async take(part: number): Promise<Pieces> {
    const { done } = this.#part(part);
    const pieces = await done.promise;
    for (const shard of this.#shards) shard.cells[part] = undefined;
    return pieces;
  }

  /** Shards seen to be missing or damaged. */
  faulty(): readonly number[] {
    return [...this.#faulty];
  }

  /** Lets go of everything; parts that were not ready reject with `error`. */
  close(error: Error): void {
    if (this.#over) return;
    this.#over = true;
    this.#stopTimer?.();
    for (const shard of this.#shards) shard.fetch?.cancel();
    for (const part of this.#parts) if (!part.resolved) part.done.reject(error);
  }

  #begin(): void {
    for (const shard of this.#shards.slice(0, this.#options.content.data)) {
      if (shard.node?.state() !== 'up') continue;
      const needed = this.#parts.filter((part) => needs(part, shard.index));
      this.#start(shard, needed);
    }
    this.#evaluate();
    this.#arm();
  }

  /** Asks `shard` for its cuts of `parts`, which are neighbours. */
  #start(shard: Shard, parts: readonly Part[]): void {
    const first = parts[0];
    if (shard.node === undefined || first === undefined) return;
    const { content, clock, pace } = this.#options;
    pace.earn();
    shard.fetch = new ShardFetch({
      node: shard.node,
      contentId: content.contentId,
      index: shard.index,
      shardBytes: this.#shardBytes,
      offset: first.stripe * content.blockSizeBytes + first.low,
      cuts: parts.map((part) => ({ part: part.number, lengthBytes: part.high - part.low })),
      clock,
      onCut: (_, cut) => {
        this.#foundSome = true;
        pace.observe(cut.elapsedMs);
        if (!this.#part(cut.part).resolved) shard.cells[cut.part] = cut.pieces;
        this.#evaluate();
      },
      onEnd: (fetch, error) => {
        this.#ended(shard, fetch, error);
      },
    });
  }

  #ended(shard: Shard, fetch: ShardFetch, error: unknown): void {
    shard.fetch = undefined;
    if (error !== undefined) this.#judge(shard, { fetch, error });
    this.#evaluate();
  }

  #judge(shard: Shard, failed: { readonly fetch: ShardFetch; readonly error: unknown }): void {
    const { fetch, error } = failed;
    const at = fetch.nextPart;
    if (isShardDamaged(error) && at !== undefined) {
      this.#foundSome = true;
      this.#faulty.add(shard.index);
      shard.cells[at] = 'bad';
      // Its other blocks may be good, and may be needed.
      const rest = this.#parts.filter(
        (part) => part.number > at && !part.resolved && fetch.covers(part.number),
      );
      if (!this.#over) this.#start(shard, rest);
    } else if (isShardMissing(error)) {
      this.#faulty.add(shard.index);
      shard.verdict = 'missing';
    } else if (isShardDamaged(error) || error instanceof ShardSizeError) {
      this.#foundSome = true;
      this.#faulty.add(shard.index);
      shard.verdict = 'damaged';
    } else shard.verdict = 'unavailable';
  }

  #evaluate(): void {
    if (this.#over) return;
    for (const part of this.#parts) {
      if (!part.resolved) this.#settle(part);
      if (this.#isOver()) return;
    }
    if (this.#parts.every((part) => part.resolved)) {
      this.#over = true;
      this.#stopTimer?.();
      for (const shard of this.#shards) shard.fetch?.cancel();
    }
  }

  #isOver(): boolean {
    return this.#over;
  }

  #settle(part: Part): void {
    const { data } = this.#options.content;
    const needed = this.#shards.slice(part.firstBlock, part.lastBlock + 1);
    if (needed.every((shard) => isCut(shard.cells[part.number]))) {
      this.#resolve(
        part,
        needed.map((shard) => cut(shard, part)),
      );
      return;
    }
    const have = this.#shards.filter((shard) => isCut(shard.cells[part.number]));
    if (have.length >= data) {
      this.#reconstruct(part, have);
      return;
    }
    const expected = (shard: Shard): boolean => shard.fetch?.expects(part.number) === true;
    if (this.#isComing(part)) return;
    // Some block will not come, or not soon: any K of the others do.
    let coming =
      have.length + this.#shards.filter((shard) => expected(shard) && shard.fetch?.late === false).length;
    for (const shard of this.#candidates(part)) {
      if (coming >= data) return;
      this.#start(shard, this.#run(shard, part));
      coming += 1;
    }
    if (coming >= data) return;
    // Whatever can be asked has been. What is late may come yet; what is in time tells which error it is.
    const asked = this.#shards.filter((shard) => expected(shard) || isBusy(shard, part));
    if (have.length + asked.length < data && asked.every((shard) => shard.fetch?.late === true)) {
      this.#fail(part, have.length);
    }
  }

  /** Whether each block that is needed is there or on its way in good time. */
  #isComing(part: Part): boolean {
    return this.#shards
      .slice(part.firstBlock, part.lastBlock + 1)
      .every(
        (shard) =>
          isCut(shard.cells[part.number]) ||
          (shard.fetch?.late === false && shard.fetch.expects(part.number)),
      );
  }

  /** Shards that may have the part's cut and were not asked for it, the best first. */
  #candidates(part: Part): Shard[] {
    const rank = { up: 0, suspect: 1, down: 2 } as const;
    const free = this.#shards.filter(
      (shard) =>
        shard.verdict === undefined &&
        shard.fetch === undefined &&
        shard.cells[part.number] === undefined &&
        shard.node !== undefined,
    );
    const states = new Map(free.map((shard) => [shard, rank[shard.node?.state() ?? 'down']]));
    return free.sort((a, b) => (states.get(a) ?? 0) - (states.get(b) ?? 0) || a.index - b.index);
  }

  /** The part and the unfinished ones after it for which the shard can be asked in one go. */
  #run(shard: Shard, from: Part): Part[] {
    const run: Part[] = [];
    for (const part of this.#parts.slice(from.number)) {
      if (part.resolved || shard.cells[part.number] !== undefined || this.#isComing(part)) break;
      run.push(part);
    }
    return run;
  }

  #reconstruct(part: Part, have: readonly Shard[]): void {
    const { codec, content } = this.#options;
    const lengthBytes = part.high - part.low;
    const present = this.#shards.map((shard) => {
      const cell = shard.cells[part.number];
      return isCut(cell) ? cell : undefined;
    });
    const wanted: number[] = [];
    for (let block = part.firstBlock; block <= part.lastBlock; block += 1) {
      if (present[block] === undefined) wanted.push(block);
    }
    // With a cut more than is needed the others can be checked against it.
    const witness = have[content.data];
    if (witness !== undefined) {
      const [expected] = codec.reconstruct(
        present.map((cell, index) => (index < witness.index ? cell : undefined)),
        { wanted: [witness.index], lengthBytes },
      );
      if (expected === undefined || !piecesEqual(present[witness.index] ?? [], expected)) {
        this.close(
          new ContentDamagedError(
            `stripe ${part.stripe}: its blocks pass their checks but contradict each other`,
          ),
        );
        return;
      }
    }
    const rebuilt = codec.reconstruct(present, { wanted, lengthBytes });
    const blocks: Pieces[] = [];
    for (let block = part.firstBlock; block <= part.lastBlock; block += 1) {
      const at = wanted.indexOf(block);
      const bytes = at < 0 ? undefined : rebuilt[at];
      blocks.push(bytes === undefined ? (present[block] ?? []) : [bytes]);
    }
    this.#resolve(part, blocks);
  }

  /** `blocks` are the part's cuts of its blocks, first to last. */
  #resolve(part: Part, blocks: readonly Pieces[]): void {
    const content: Uint8Array[] = [];
    blocks.forEach((block, i) => {
      const start = (part.firstBlock + i) * part.blockBytes;
      const from = Math.max(part.from - start, 0) - part.low;
      const to = Math.min(part.to - start, part.blockBytes) - part.low;
      content.push(...slicePieces(block, { from, to }));
    });
    part.resolved = true;
    part.done.resolve(content);
  }

  #fail(part: Part, good: number): void {
    const { data, parity } = this.#options.content;
    const count = (verdict: Shard['verdict']): number =>
      this.#shards.filter((shard) => shard.verdict === verdict).length;
    const missing = count('missing');
    const unanswered = count('unavailable');
    const damaged = this.#shards.filter(
      (shard) => shard.verdict === 'damaged' || shard.cells[part.number] === 'bad',
    ).length;
    const counts = `${good} good, ${damaged} damaged, ${missing} missing, ${unanswered} unreachable of ${data}+${parity} shards`;
    if (!this.#foundSome && missing > parity) {
      // Content that is gone altogether was deleted, or moved since its locator was read: nothing to repair.
      this.#faulty.clear();
      this.close(new ContentMissingError(`no shard is where it should be: ${counts}`));
    } else if (data + parity - missing - damaged >= data) {
      this.close(new UnavailableError(`too few shard nodes answer: ${counts}`));
    } else this.close(new ContentDamagedError(`too few good shards are left: ${counts}`));
  }

  /** Looks again when the next fetch may be late. */
  #arm(): void {
    if (this.#over) return;
    const { clock, timing, pace } = this.#options;
    const lateMs = pace.lateMs;
    let dueMs = timing.stallMs;
    for (const { fetch } of this.#shards) {
      if (fetch === undefined) continue;
      const limits = fetch.late ? [timing.stallMs] : [lateMs, timing.maxHedgeMs];
      const idleMs = fetch.idleMs();
      for (const limit of limits) if (limit > idleMs) dueMs = Math.min(dueMs, limit - idleMs);
    }
    this.#stopTimer = clock.after(Math.max(Math.ceil(dueMs), 1), () => {
      this.#look();
      this.#arm();
    });
  }

  #look(): void {
    const { timing, pace } = this.#options;
    for (const { fetch } of this.#shards) {
      if (fetch === undefined) continue;
      const idleMs = fetch.idleMs();
      if (idleMs >= timing.stallMs) fetch.fail(new UnavailableError(`node ${fetch.node.id} sends nothing`));
      else if (!fetch.late) {
        const hedge =
          fetch.node.state() !== 'up' ||
          idleMs >= timing.maxHedgeMs ||
          (idleMs >= pace.lateMs && pace.spend());
        if (hedge) fetch.late = true;
      }
    }
    this.#evaluate();
  }

  #part(number: number): Part {
    const part = this.#parts[number];
    assert(part !== undefined, `the window has no part ${number}`);
    return part;
  }
}

function needs(part: StripePart, block: number): boolean {
  return block >= part.firstBlock && block <= part.lastBlock;
}

function isCut(cell: Pieces | 'bad' | undefined): cell is Pieces {
  return cell !== undefined && cell !== 'bad';
}

function cut(shard: Shard, part: Part): Pieces {
  const cell = shard.cells[part.number];
  assert(isCut(cell), 'a block was judged present');
  return cell;
}

/** Whether the shard is being asked for other parts and may be asked for this one afterwards. */
function isBusy(shard: Shard, part: Part): boolean {
  return shard.fetch !== undefined && shard.verdict === undefined && shard.cells[part.number] === undefined;
}
