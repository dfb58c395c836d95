import { UnavailableError } from '../../s3db/errors.ts';
import type { Clock } from '../clock.ts';
import type {
  ContentId,
  DataStore,
  Locator,
  ReadContentOptions,
  WriteContentOptions,
  WrittenContent,
} from '../data_store.ts';
import type { GlobalState } from '../global_state.ts';
import { readContent } from './content_reader.ts';
import { ContentWriter } from './content_writer.ts';
import { BufferPool } from './buffer_pool.ts';
import type { ContentIndex } from './content_index.ts';
import { ContentUpload } from './content_upload.ts';
import { Epochs } from './epochs.ts';
import type { EpochUse } from './epochs.ts';
import type { Codec, CodeShape } from './erasure/codec.ts';
import { CodecFactory } from './erasure/codec_factory.ts';
import { decodeLocator, encodeLocator } from './locator.ts';
import type { ContentLayout } from './locator.ts';
import type { BytePace } from './pace.ts';
import { NodeRings } from './node_rings.ts';
import { defaultTiming } from './ports.ts';
import type { Logger, Membership, ShardNode, Timing } from './ports.ts';
import { ReadPace } from './read_pace.ts';
import { RepairReporter } from './repair_reporter.ts';
import { repairOperation } from './repair_rows.ts';
import { Repairer } from './repairer.ts';
import { ShardMover } from './shard_mover.ts';
import { withDeadline } from './waiting.ts';

export interface DistributedDataStoreOptions {
  /** The code of new content; what is there keeps its own. */
  readonly rs: CodeShape;
  /** Codes of storage classes that have their own. */
  readonly storageClasses?: ReadonlyMap<string, CodeShape>;
  readonly nodes: Membership;
  /** Epochs and repair rows are kept there. */
  readonly state: GlobalState;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly randomBytes: (count: number) => Uint8Array;
  /** Names this process in its epoch rows. */
  readonly holder: string;
  readonly timing?: Partial<Timing>;
  /** The version of the members that `nodes` tells now. */
  readonly membersVersion?: () => number;
  /** See `EpochsOptions`. */
  readonly epochs?: { readonly rollMs?: number; readonly leaseMs?: number; readonly lingerMs?: number };
}

/** How long a write that failed waits for the removal of what it had stored; what takes longer goes on behind it. */
const cleanUpMs = 3000;

/**
 * Keeps content as Reed-Solomon shards on shard nodes. A write is durable on at least K + 1 nodes (K where M = 0)
 * when it resolves, on K + M where that many are up; a read needs any K.
 */
export class DistributedDataStore implements DataStore {
  readonly #options: DistributedDataStoreOptions;
  readonly #timing: Timing;
  readonly #codecs: CodecFactory;
  readonly #codec: Codec;
  readonly #codecOfClass: ReadonlyMap<string, Codec>;
  readonly #pool: BufferPool;
  readonly #epochs: Epochs;
  readonly #pace: ReadPace;
  readonly #reporter: RepairReporter;
  readonly #cleaning = new Set<Promise<void>>();
  readonly #rings = new NodeRings();

  private constructor(
    options: DistributedDataStoreOptions,
    erasure: { readonly codecs: CodecFactory; readonly pool: BufferPool },
  ) {
    const { codecs, pool } = erasure;
    this.#pool = pool;
    this.#options = options;
    this.#timing = { ...defaultTiming, ...options.timing };
    this.#codecs = codecs;
    this.#codec = codecs.codec(options.rs);
    this.#codecOfClass = new Map(
      [...(options.storageClasses ?? [])].map(([name, shape]) => [name, codecs.codec(shape)]),
    );
    this.#pace = new ReadPace(this.#timing);
    this.#reporter = new RepairReporter(options);
    this.#epochs = Epochs.open({ ...options, ...options.epochs });
  }

  /** @throws RangeError for an impossible code; Error when the erasure kernel was not built. */
  static async open(options: DistributedDataStoreOptions): Promise<DistributedDataStore> {
    const pool = new BufferPool();
    const codecs = await CodecFactory.open((bytes) => pool.take(bytes));
    if (codecs.kind === 'crate') {
      options.logger.warn({}, 'no SIMD in this runtime: erasure coding is several times slower');
    }
    return new DistributedDataStore(options, { codecs, pool });
  }

  /** @throws UnavailableError when too few nodes take their shards. */
  async write(
    id: ContentId,
    body: AsyncIterable<Uint8Array>,
    options: WriteContentOptions = {},
  ): Promise<WrittenContent> {
    const codec = this.#codecOfClass.get(options.storageClass ?? '') ?? this.#codec;
    const { data, parity } = codec;
    const upload = new ContentUpload({
      id,
      data,
      parity,
      sizeBytes: options.sizeBytes,
      signal: options.signal,
      allocate: (bytes) => this.#pool.take(bytes),
      begin: (onFail) => this.#begin({ id, codec }, onFail),
    });
    try {
      const { layout, missing, use } = await upload.run(body);
      const locator = encodeLocator(layout);
      return {
        locator,
        sizeBytes: layout.sizeBytes,
        conditions: use === undefined ? [] : [use.condition],
        operations: missing.length === 0 ? [] : [repairOperation(layout, { locator, missing })],
      };
    } finally {
      // Of a write that succeeded only shards on nodes that were replaced; those are not waited for.
      const cleaned = this.#cleanUp(id, upload);
      if (upload.failed) await cleaned;
    }
  }

  /** @throws ContentMissingError, ContentDamagedError, UnavailableError, InvalidLocatorError, RangeError */
  async read(locator: Locator, options: ReadContentOptions = {}): Promise<AsyncIterable<Uint8Array>> {
    options.signal?.throwIfAborted();
    const content = decodeLocator(locator);
    const range = options.range ?? { offset: 0, lengthBytes: content.sizeBytes };
    if (range.offset < 0 || range.lengthBytes < 0 || range.offset + range.lengthBytes > content.sizeBytes) {
      throw new RangeError(
        `bytes ${range.offset} and ${range.lengthBytes} on are not within content of ${content.sizeBytes} bytes`,
      );
    }
    if (range.lengthBytes === 0) return nothing();
    return readContent({
      content,
      range,
      codec: this.#codecs.codec(content),
      nodes: () => this.#nodesOf(content),
      clock: this.#options.clock,
      timing: this.#timing,
      pace: this.#pace,
      signal: options.signal,
      onFaulty: (indexes) => {
        this.#reporter.report(content, indexes);
      },
    });
  }

  /** Resolves when every node of the locator that is still a member has confirmed. @throws UnavailableError */
  async remove(locator: Locator): Promise<void> {
    const content = decodeLocator(locator);
    const nodes = this.#nodesOf(content);
    const results = await Promise.allSettled(
      nodes.map(async (node, index) => {
        if (node !== undefined) await this.#delete(node, { objectHash: content.contentId, index });
      }),
    );
    const failed = results.filter((result) => result.status === 'rejected');
    if (failed.length > 0) {
      throw new UnavailableError(`${failed.length} of ${results.length} shards could not be removed yet`, {
        cause: new AggregateError(failed.map((result) => result.reason as unknown)),
      });
    }
  }

  /** What rebuilds and moves shards, at the given pace, under this store's epochs. */
  keepers(options: { readonly contents: ContentIndex; readonly pace: BytePace }): {
    readonly repairer: Repairer;
    readonly mover: ShardMover;
  } {
    const { clock, logger, state, nodes } = this.#options;
    const shared = {
      contents: options.contents,
      pace: options.pace,
      epochs: this.#epochs,
      codecs: this.#codecs,
      state,
      nodes,
      order: (id: ContentId) => this.#order(id),
      timing: this.#timing,
      clock,
      logger,
    };
    return { repairer: new Repairer(shared), mover: new ShardMover(shared) };
  }

  /** Waits for what is being cleaned up, and gives up its epochs. The state stays open: it belongs to the opener. */
  async close(): Promise<void> {
    await withDeadline(Promise.all(this.#cleaning), {
      clock: this.#options.clock,
      ms: this.#timing.callMs,
    }).catch((error: unknown) => {
      this.#options.logger.warn({ err: error }, 'closing before all shards of failed writes are removed');
    });
    await this.#reporter.close();
    await this.#epochs.close();
  }

  async #begin(
    content: { readonly id: ContentId; readonly codec: Codec },
    onFail: (error: Error) => void,
  ): Promise<{ readonly writer: ContentWriter; readonly use: EpochUse }> {
    const use = await this.#acquireEpoch();
    try {
      const writer = new ContentWriter({
        codec: content.codec,
        contentId: content.id,
        epoch: use.epoch,
        order: this.#order(content.id),
        clock: this.#options.clock,
        timing: this.#timing,
        logger: this.#options.logger,
        onFail,
        onUnused: (memory) => {
          this.#pool.give(memory);
        },
      });
      return { writer, use };
    } catch (error) {
      use.release();
      throw error;
    }
  }

  async #acquireEpoch(): Promise<EpochUse> {
    try {
      return await this.#epochs.acquire();
    } catch (cause) {
      // Whatever became of the epoch's row, nothing of this write is anywhere.
      throw new UnavailableError('no epoch to write under could be begun', { cause });
    }
  }

  /**
   * Deletes what a write left where no metadata will name it. A shard that can't be deleted now carries its epoch, by
   * which an audit finds it.
   */
  #cleanUp(id: ContentId, upload: ContentUpload): Promise<void> {
    const strays = upload.strays();
    if (strays.length === 0) {
      upload.release();
      return Promise.resolve();
    }
    const removals = strays.map(async (answer) => {
      const stray = await answer;
      if (stray !== undefined) await this.#delete(stray.node, { objectHash: id, index: stray.index });
    });
    const all = Promise.allSettled(removals).then((results) => {
      for (const result of results) {
        if (result.status === 'rejected') {
          this.#options.logger.warn(
            { err: result.reason as unknown },
            'a shard of a failed write was left behind',
          );
        }
      }
      upload.release();
    });
    this.#cleaning.add(all);
    void all.then(() => this.#cleaning.delete(all));
    // The removals log their own failures; only the deadline rejects here, and behind it they go on.
    return withDeadline(all, { clock: this.#options.clock, ms: cleanUpMs }).catch(() => undefined);
  }

  async #delete(
    node: ShardNode,
    shard: { readonly objectHash: Uint8Array; readonly index: number },
  ): Promise<void> {
    await withDeadline(node.storage.delete(shard), { clock: this.#options.clock, ms: this.#timing.callMs });
  }

  /** The members that take new shards, in order of preference for the content. */
  #order(id: ContentId): readonly ShardNode[] {
    return this.#rings.order(
      this.#options.nodes().filter((node) => node.emptying !== true),
      id,
    );
  }

  #nodesOf(content: ContentLayout): (ShardNode | undefined)[] {
    const byId = new Map(this.#options.nodes().map((node) => [node.id, node]));
    return content.placement.map((id) => (id === null ? undefined : byId.get(id)));
  }
}

async function* nothing(): AsyncGenerator<Uint8Array, void, undefined> {
  // Empty content, or an empty range of it.
}
