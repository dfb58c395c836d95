import { decode, encode } from 'cborg';

import type { Operation } from '../../s3db/database.ts';
import type { LeasedRun } from '../lease.ts';
import type { KeeperPorts } from './keeper_ports.ts';
import { decodeLocator } from './locator.ts';
import type { ContentLayout } from './locator.ts';
import type { BytePace } from './pace.ts';
import type { ShardNode } from './ports.ts';
import { repairOperation } from './repair_rows.ts';
import { hashBefore, shardName } from './shard_order.ts';
import { shardLength } from './stripes.ts';
import { withDeadline } from './waiting.ts';

interface RepairScannerOptions extends KeeperPorts {
  /** Rows a second, all nodes together: set so that clients don't notice. */
  readonly pace: BytePace;
  /** Everything is looked at so often (default 12 hours), and whenever a node comes back. */
  readonly everyMs?: number;
}

/** How far a scan has come; undefined: to its end. */
interface Cursor {
  readonly finishedMs: number;
  readonly at: Uint8Array | undefined;
}

const version = 1;
const cursorKey = Buffer.from('repair-scan');
/** Rows of nodes that ask for a scan, since they have less than they had, or can't tell. */
const wantedPrefix = Buffer.from('scan-wanted/');
/** Comes before all content. */
const beginning = new Uint8Array(32);
const contentsPerPage = 500;
const shardsPerPage = 5000;
/** Rows of one batch; far below the database's limit. */
const operationsPerBatch = 500;

/**
 * Compares what the metadata names with what the nodes have, content by content, and queues what is missing: so a
 * node that came back with an empty disk, or another disk, is filled again. Both sides list in order of content id,
 * so it takes a few pages of each, not a question for every shard. Resumes where it was interrupted.
 */
export class RepairScanner {
  readonly #options: RepairScannerOptions;
  readonly #everyMs: number;
  /** Nodes that were up when last looked at. */
  #up: ReadonlySet<number> | undefined;
  #restart = false;

  constructor(options: RepairScannerOptions) {
    this.#options = options;
    this.#everyMs = options.everyMs ?? 12 * 60 * 60_000;
  }

  /** Goes on with a scan, or begins one when it is time or a node came back; returns at its end. */
  async scanIfDue(run: LeasedRun): Promise<void> {
    this.#noticeReturns();
    await this.#takeRequests();
    const { state, clock } = this.#options;
    const row = await state.get('state', cursorKey);
    let { finishedMs, at } = row === undefined ? { finishedMs: 0, at: undefined } : decodeCursor(row);
    if (at === undefined && !this.#restart && clock.nowMs() - finishedMs < this.#everyMs) return;
    if (this.#restart) at = undefined;
    this.#restart = false;
    let found = 0;
    do {
      if (run.signal.aborted || !(await run.keep())) return;
      const page = await this.#options.contents.list({ startAfter: at, limit: contentsPerPage });
      found += await this.#check(page.contents);
      at = page.next;
      if (at === undefined) finishedMs = clock.nowMs();
      await state.set('state', cursorKey, encodeCursor({ finishedMs, at }));
      await this.#options.pace.take(contentsPerPage, run.signal);
    } while (at !== undefined);
    if (found > 0) this.#options.logger.warn({ contents: found }, 'a scan found content with missing shards');
  }

  /** Begins anew where a node asked for it. */
  async #takeRequests(): Promise<void> {
    const { state, clock } = this.#options;
    const wanted = await state.scan({ table: 'state', prefix: wantedPrefix, limit: 1000 });
    if (wanted.items.length === 0) return;
    await state.batch({
      conditions: wanted.items.map(({ key, value }) => ({ table: 'state', key, equals: value })),
      operations: [
        {
          type: 'put',
          table: 'state',
          key: cursorKey,
          value: encodeCursor({ finishedMs: clock.nowMs(), at: beginning }),
        },
        ...wanted.items.map(({ key }): Operation => ({ type: 'delete', table: 'state', key })),
      ],
    });
  }

  /** A node that was away may have come back with less than it had. */
  #noticeReturns(): void {
    const up = new Set(
      this.#options
        .nodes()
        .filter((node) => node.state() === 'up')
        .map((node) => node.id),
    );
    if (this.#up !== undefined && [...up].some((id) => this.#up?.has(id) === false)) this.#restart = true;
    this.#up = up;
  }

  /** Queues what is missing of one page of contents; resolves with how many contents that is. */
  async #check(
    page: readonly { readonly contentId: Uint8Array; readonly locator: Uint8Array }[],
  ): Promise<number> {
    const contents = page
      .map(({ locator }) => decodeLocator(locator))
      .filter((content) => content.sizeBytes > 0);
    const first = contents[0]?.contentId;
    const last = contents.at(-1)?.contentId;
    if (first === undefined || last === undefined) return 0;
    // Listed before the nodes are asked: a row is there only when its shards are.
    const members = this.#options.nodes();
    const held = new Map<number, ReadonlyMap<string, number> | undefined>();
    await Promise.all(
      members.map(async (node) => {
        held.set(node.id, node.state() === 'up' ? await this.#shardsOf(node, { first, last }) : undefined);
      }),
    );
    const known = new Set(members.map((node) => node.id));
    const operations = contents.flatMap((content) => {
      const missing = missingOf(content, { held, known });
      return missing.length === 0 ? [] : [{ content, missing }];
    });
    const locators = new Map(
      page.map(({ contentId, locator }) => [Buffer.from(contentId).toString('hex'), locator]),
    );
    for (let from = 0; from < operations.length; from += operationsPerBatch) {
      await this.#options.state.batch({
        conditions: [],
        operations: operations.slice(from, from + operationsPerBatch).map(({ content, missing }) =>
          repairOperation(content, {
            locator: locators.get(Buffer.from(content.contentId).toString('hex')) ?? new Uint8Array(0),
            missing,
          }),
        ),
      });
    }
    return operations.length;
  }

  /** Sizes of the node's shards of contents `first` to `last`, by content and index; undefined when it doesn't say. */
  async #shardsOf(
    node: ShardNode,
    range: { readonly first: Uint8Array; readonly last: Uint8Array },
  ): Promise<ReadonlyMap<string, number> | undefined> {
    const { clock, timing, logger } = this.#options;
    const sizes = new Map<string, number>();
    // Index 255 of the hash before the first: everything of the first comes after it.
    let startAfter = { objectHash: hashBefore(range.first) ?? range.first, index: 255 };
    try {
      for (;;) {
        const stats = await withDeadline(node.storage.scan({ startAfter, limit: shardsPerPage }), {
          clock,
          ms: timing.callMs,
        });
        for (const stat of stats) {
          if (Buffer.compare(stat.objectHash, range.last) > 0) return sizes;
          sizes.set(shardName(stat), stat.sizeBytes);
        }
        const end = stats.at(-1);
        if (end === undefined || stats.length < shardsPerPage) return sizes;
        startAfter = { objectHash: end.objectHash, index: end.index };
      }
    } catch (error) {
      logger.info({ err: error, node: node.id }, 'a node could not be scanned; it is left out');
      return undefined;
    }
  }
}

/** Asks for a scan on behalf of a node: it was opened empty, or with damage. `nonce` tells requests apart. */
export function scanWanted(node: number, nonce: Uint8Array): Operation {
  const key = Buffer.concat([wantedPrefix, Buffer.from(String(node))]);
  return { type: 'put', table: 'state', key, value: nonce };
}

function missingOf(
  content: ContentLayout,
  nodes: {
    readonly held: ReadonlyMap<number, ReadonlyMap<string, number> | undefined>;
    readonly known: ReadonlySet<number>;
  },
): number[] {
  const sizeBytes = shardLength(content);
  return content.placement.flatMap((id, index) => {
    if (id === null || !nodes.known.has(id)) return [index];
    const shards = nodes.held.get(id);
    // A node that didn't answer is waited for.
    if (shards === undefined) return [];
    return shards.get(shardName({ objectHash: content.contentId, index })) === sizeBytes ? [] : [index];
  });
}

function encodeCursor(cursor: Cursor): Uint8Array {
  return encode([version, cursor.finishedMs, cursor.at ?? null]);
}

function decodeCursor(row: Uint8Array): Cursor {
  const fields: unknown = decode(row);
  if (!Array.isArray(fields) || fields[0] !== version)
    throw new Error('the scan cursor is of an unknown version');
  const [, finishedMs, at] = fields as readonly unknown[];
  if (typeof finishedMs !== 'number') throw new Error('the scan cursor is damaged');
  return { finishedMs, at: at instanceof Uint8Array ? at : undefined };
}
