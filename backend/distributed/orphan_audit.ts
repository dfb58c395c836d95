import { decode, encode } from 'cborg';

import type { LeasedRun } from '../lease.ts';
import { removeUnchanged, scanPages, type Row } from '../state_rows.ts';
import { decodeEpochRow, epochOfKey, epochPrefix } from './epochs.ts';
import type { KeeperPorts } from './keeper_ports.ts';
import { decodeLocator } from './locator.ts';
import type { BytePace } from './pace.ts';
import type { ShardNode } from './ports.ts';
import { retiredPrefixOf } from './retired_rows.ts';
import { hashBefore, shardName } from './shard_order.ts';
import { withDeadline } from './waiting.ts';

export interface OrphanAuditOptions extends KeeperPorts {
  /** Shards looked at in a second, all nodes together. */
  readonly pace: BytePace;
  /** Everything is looked at so often, at least. */
  readonly everyMs: number;
}

/** What the last audit found, for people. */
export interface AuditReport {
  readonly finishedMs: number;
  readonly shards: number;
  readonly orphans: number;
  readonly deleted: number;
  /** Nodes with so many orphans that nothing was deleted there, until an operator says so. */
  readonly asking: readonly { readonly node: number; readonly orphans: number; readonly shards: number }[];
}

interface Orphan {
  readonly objectHash: Uint8Array;
  readonly index: number;
  readonly epoch: bigint;
}

/**
 * While the row is there nothing is deleted as an orphan: after a metadata restore the metadata may lack what nodes
 * rightly have. Removed by `s3d admin audit resume`.
 */
export const auditHaltedKey: Uint8Array = Buffer.from('cluster:audit:halted');
/** Holds the report of the last audit. */
export const auditReportKey: Uint8Array = Buffer.from('audit-report');
/** While the row is there an audit deletes however many orphans it finds; it goes with the audit. */
export const auditApprovedKey: Uint8Array = Buffer.from('audit-approved');

const version = 1;
const shardsPerPage = 2000;
const contentsPerPage = 1000;
/** More orphans than this share of a node's shards look like lost metadata. */
const suspiciousShare = 0.01;
/** So few are never suspicious: a node may hold little else. */
const neverSuspicious = 100;
/** Orphans that one pass over a node takes; the next pass finds the others. */
const maxOrphans = 100_000;
/** Beyond the lease, for a holder that is slow to renew. */
const leaseGrace = 1.5;

/**
 * Deletes shards that no metadata names and none ever will: those of epochs whose row is gone. Every batch that names
 * shards is conditional on the row of their epoch, so a look-up made after the row went away is final; an upload
 * that is under way, however slow, holds its row. Rows of dead processes are removed here, once they stayed the same
 * for longer than their lease by this process's own clock.
 */
export class OrphanAudit {
  readonly #options: OrphanAuditOptions;
  /** Epoch rows as first seen. */
  readonly #seen = new Map<bigint, { readonly value: Uint8Array; readonly sinceMs: number }>();
  #epochsRemoved = true;

  constructor(options: OrphanAuditOptions) {
    this.#options = options;
  }

  /** Removes rows of dead epochs; audits all nodes when it is time, or when an epoch has ended since. */
  async auditIfDue(run: LeasedRun): Promise<void> {
    const { state, clock } = this.#options;
    await this.#expireEpochs();
    if (await state.exists('state', auditHaltedKey)) return;
    const row = await state.get('state', auditReportKey);
    const lastMs = row === undefined ? 0 : decodeReport(row).finishedMs;
    const approved = await state.exists('state', auditApprovedKey);
    const isOverdue = Math.abs(clock.nowMs() - lastMs) >= this.#options.everyMs;
    if (!this.#epochsRemoved && !isOverdue && !approved) return;
    this.#epochsRemoved = false;
    const report = await this.audit({ ...run, approved });
    if (report === undefined) this.#epochsRemoved = true;
  }

  /** One pass over all nodes that are up; undefined when it was broken off. */
  async audit(run: LeasedRun & { readonly approved: boolean }): Promise<AuditReport | undefined> {
    const { nodes, clock, state, logger } = this.#options;
    let shards = 0;
    let orphans = 0;
    let deleted = 0;
    const asking: { node: number; orphans: number; shards: number }[] = [];
    for (const node of nodes()) {
      if (node.state() !== 'up') continue;
      const found = await this.#findOrphans(node, run);
      if (found === undefined) return undefined;
      shards += found.shards;
      orphans += found.orphans.length;
      const limit = Math.max(neverSuspicious, found.shards * suspiciousShare);
      if (found.orphans.length > limit && !run.approved) {
        asking.push({ node: node.id, orphans: found.orphans.length, shards: found.shards });
        continue;
      }
      for (const orphan of found.orphans) {
        if (run.signal.aborted || !(await run.keep())) return undefined;
        if (await this.#deleteOrphan(node, orphan)) deleted += 1;
      }
    }
    const report = { finishedMs: clock.nowMs(), shards, orphans, deleted, asking };
    await state.set('state', auditReportKey, encodeReport(report));
    if (run.approved) await state.delete('state', auditApprovedKey);
    if (deleted > 0) logger.info({ deleted, shards }, 'shards that no metadata names were deleted');
    if (asking.length > 0) {
      logger.error(
        { nodes: asking },
        "more than 1% of a node's shards are named by no metadata: nothing is deleted there until 's3d admin audit approve'",
      );
    }
    return report;
  }

  /** Shards of ended epochs that nothing names, on one node. */
  async #findOrphans(
    node: ShardNode,
    run: LeasedRun,
  ): Promise<{ readonly shards: number; readonly orphans: Orphan[] } | undefined> {
    const { clock, timing, pace, logger } = this.#options;
    let shards = 0;
    const orphans: Orphan[] = [];
    let startAfter: { readonly objectHash: Uint8Array; readonly index: number } | undefined;
    for (;;) {
      if (run.signal.aborted || !(await run.keep())) return undefined;
      await pace.take(shardsPerPage, run.signal);
      let page;
      try {
        page = await withDeadline(
          node.storage.scan({ limit: shardsPerPage, ...(startAfter === undefined ? {} : { startAfter }) }),
          { clock, ms: timing.callMs },
        );
      } catch (error) {
        logger.info({ err: error, node: node.id }, 'a node could not be audited; it is left out');
        return { shards, orphans: [] };
      }
      shards += page.length;
      // In this order: the shards, then the epochs that go on, then the metadata. What is written of an epoch that
      // ended before was named before, if ever.
      const live = new Set((await this.#epochRows()).map((row) => row.epoch));
      const ended = page.filter((stat) => !live.has(stat.epoch));
      if (ended.length > 0) orphans.push(...(await this.#unnamed(node, ended)));
      const last = page.at(-1);
      if (last === undefined || page.length < shardsPerPage || orphans.length >= maxOrphans) {
        return { shards, orphans };
      }
      startAfter = { objectHash: last.objectHash, index: last.index };
    }
  }

  /** Those that no content row places on this node. */
  async #unnamed(node: ShardNode, shards: readonly Orphan[]): Promise<Orphan[]> {
    const named = new Set<string>();
    const first = shards[0]?.objectHash;
    const last = shards.at(-1)?.objectHash;
    if (first === undefined || last === undefined) return [];
    let startAfter: Uint8Array | undefined = hashBefore(first);
    do {
      const page = await this.#options.contents.list({ startAfter, limit: contentsPerPage });
      for (const { contentId, locator } of page.contents) {
        decodeLocator(locator).placement.forEach((id, index) => {
          if (id === node.id) named.add(shardName({ objectHash: contentId, index }));
        });
      }
      startAfter = page.next;
    } while (startAfter !== undefined && Buffer.compare(startAfter, last) <= 0);
    return shards
      .filter((shard) => !named.has(shardName(shard)))
      .map(({ objectHash, index, epoch }) => ({ objectHash, index, epoch }));
  }

  /** Looks once more, at this shard alone, and deletes it only as it was found. */
  async #deleteOrphan(node: ShardNode, orphan: Orphan): Promise<boolean> {
    const { contents, state, clock, timing, logger } = this.#options;
    const locator = await contents.locate(orphan.objectHash);
    if (locator !== undefined && decodeLocator(locator).placement[orphan.index] === node.id) return false;
    // Shards that were moved away wait for reads that are under way.
    const retired = await state.scan({
      table: 'state',
      prefix: retiredPrefixOf(orphan.objectHash),
      limit: 1,
    });
    if (retired.items.length > 0) return false;
    try {
      const deleted = await withDeadline(node.storage.delete(orphan, { epoch: orphan.epoch }), {
        clock,
        ms: timing.callMs,
      });
      if (deleted) {
        const contentId = Buffer.from(orphan.objectHash).toString('hex');
        logger.info(
          { contentId, shard: orphan.index, node: node.id, epoch: String(orphan.epoch) },
          'an orphan was deleted',
        );
      }
      return deleted;
    } catch (error) {
      logger.info({ err: error, node: node.id }, 'an orphan could not be deleted yet');
      return false;
    }
  }

  async #expireEpochs(): Promise<void> {
    const { state, clock, logger } = this.#options;
    const rows = await this.#epochRows();
    const nowMs = clock.monotonicMs();
    const known = new Set(rows.map((row) => row.epoch));
    for (const epoch of this.#seen.keys()) {
      if (known.has(epoch)) continue;
      this.#seen.delete(epoch);
      this.#epochsRemoved = true;
    }
    for (const { epoch, key, value } of rows) {
      const seen = this.#seen.get(epoch);
      if (seen === undefined || Buffer.compare(seen.value, value) !== 0) {
        this.#seen.set(epoch, { value, sinceMs: nowMs });
        continue;
      }
      const { holder, leaseMs } = decodeEpochRow(value);
      if (nowMs - seen.sinceMs < leaseMs * leaseGrace) continue;
      if (!(await removeUnchanged(state, { key, value }))) continue;
      this.#seen.delete(epoch);
      this.#epochsRemoved = true;
      logger.info({ epoch: String(epoch), holder }, 'the epoch of a process that is gone was ended');
    }
  }

  async #epochRows(): Promise<(Row & { readonly epoch: bigint })[]> {
    const rows: (Row & { readonly epoch: bigint })[] = [];
    for await (const page of scanPages(this.#options.state, {
      table: 'state',
      prefix: epochPrefix,
      limit: 1000,
    })) {
      for (const { key, value } of page.items) rows.push({ epoch: epochOfKey(key), key, value });
    }
    return rows;
  }
}

function encodeReport(report: AuditReport): Uint8Array {
  const asking = report.asking.map((entry) => [entry.node, entry.orphans, entry.shards]);
  return encode([version, report.finishedMs, report.shards, report.orphans, report.deleted, asking]);
}

/** @throws Error when the bytes are no report that this version can read. */
export function decodeReport(value: Uint8Array): AuditReport {
  const fields: unknown = decode(value);
  if (!Array.isArray(fields) || fields[0] !== version) {
    throw new Error('the report of the audit is of an unknown version');
  }
  const [, finishedMs, shards, orphans, deleted, asking] = fields as readonly unknown[];
  return {
    finishedMs: count(finishedMs),
    shards: count(shards),
    orphans: count(orphans),
    deleted: count(deleted),
    asking: Array.isArray(asking)
      ? asking.map((entry: unknown) => {
          const [node, found, of] = Array.isArray(entry) ? (entry as readonly unknown[]) : [];
          return { node: count(node), orphans: count(found), shards: count(of) };
        })
      : [],
  };
}

function count(value: unknown): number {
  if (typeof value !== 'number') throw new Error('the report of the audit is damaged');
  return value;
}
