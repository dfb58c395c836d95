import type { LeasedRun } from '../lease.ts';
import { removeUnchanged, scanPages, type Row } from '../state_rows.ts';
import type { KeeperPorts } from './keeper_ports.ts';
import { decodeLocator } from './locator.ts';
import { decodeRetiredKey, decodeRetiredRow, retiredPrefix } from './retired_rows.ts';
import { withDeadline } from './waiting.ts';

interface RetiredSweepOptions extends KeeperPorts {
  /** Shards are freed no sooner than this after they were moved: a read may be under way by the old placement. */
  readonly delayMs: number;
}

const rowsPerPage = 200;

/**
 * Deletes shards some time after they were moved elsewhere. No placement names them: every batch that places a shard
 * is conditional on there being no row of an earlier one at the same place.
 */
export class RetiredSweep {
  readonly #options: RetiredSweepOptions;

  constructor(options: RetiredSweepOptions) {
    this.#options = options;
  }

  /** Frees what is due; what can't be freed now is left for the next time. */
  async sweep(run: LeasedRun): Promise<void> {
    const { state, clock, delayMs } = this.#options;
    for await (const page of scanPages(state, {
      table: 'state',
      prefix: retiredPrefix,
      limit: rowsPerPage,
    })) {
      for (const row of page.items) {
        if (run.signal.aborted || !(await run.keep())) return;
        const { retiredMs } = decodeRetiredRow(row.value);
        // A clock that was set back must not keep it for ever.
        if (Math.abs(clock.nowMs() - retiredMs) >= delayMs) await this.#free(row);
      }
    }
  }

  async #free(row: Row): Promise<void> {
    const { nodes, contents, state, clock, timing, logger } = this.#options;
    const shard = decodeRetiredKey(row.key);
    const node = nodes().find((candidate) => candidate.id === shard.node);
    const locator = await contents.locate(shard.contentId);
    const isNamed = locator !== undefined && decodeLocator(locator).placement[shard.index] === shard.node;
    if (isNamed) logger.error({ node: shard.node }, 'a shard is named that was to be freed: it stays');
    else if (node !== undefined) {
      if (node.state() !== 'up') return;
      const key = { objectHash: shard.contentId, index: shard.index };
      try {
        const ms = timing.callMs;
        const { epoch = (await withDeadline(node.storage.stat(key), { clock, ms }))?.epoch } =
          decodeRetiredRow(row.value);
        if (epoch !== undefined) await withDeadline(node.storage.delete(key, { epoch }), { clock, ms });
      } catch (error) {
        logger.info({ err: error, node: node.id }, 'a shard that was moved could not be freed yet');
        return;
      }
    }
    await removeUnchanged(state, row);
  }
}
