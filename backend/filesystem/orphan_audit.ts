import { setTimeout as delay } from 'node:timers/promises';
import type { DataStore } from '../data_store.ts';
import type { EngineLogger } from '../engine/context.ts';
import type { GlobalState } from '../global_state.ts';
import type { FileDataStore } from './file_data_store.ts';

const filesPerPause = 100;
const pauseMs = 20;

interface OrphanAuditPorts {
  readonly state: GlobalState;
  readonly data: FileDataStore;
  readonly logger: EngineLogger;
}

/**
 * Removes files that a crash left between writing content and naming it. A file written before this start can't be
 * named any more if no row names it now, since the upload that wrote it ended with its process. Paced; runs once a
 * start, beside the service.
 */
export class OrphanAudit {
  readonly #ports: OrphanAuditPorts;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;

  constructor(ports: OrphanAuditPorts) {
    this.#ports = ports;
  }

  start(): void {
    this.#running ??= this.#runLogged();
  }

  /** The number of files that were removed. */
  async run(): Promise<number> {
    const { state, data, logger } = this.#ports;
    const { signal } = this.#stopping;
    let seen = 0;
    let removed = 0;
    for await (const stored of data.earlierContents()) {
      if (signal.aborted) return removed;
      if (++seen % filesPerPause === 0) await delay(pauseMs);
      if (await state.exists('objects', stored.contentId)) continue;
      await data.removeStored(stored);
      removed++;
    }
    if (removed > 0) logger.info({ removed }, 'removed content that a crash left without metadata');
    return removed;
  }

  async close(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  /** The store, so that closing it ends the audit first. */
  guarding(data: FileDataStore): DataStore {
    return {
      write: (id, body, options) => data.write(id, body, options),
      read: (locator, options) => data.read(locator, options),
      remove: (locator) => data.remove(locator),
      close: async () => {
        await this.close();
        await data.close();
      },
    };
  }

  async #runLogged(): Promise<void> {
    try {
      await this.run();
    } catch (error) {
      this.#ports.logger.warn(
        { err: error },
        'looking for content without metadata failed; the next start looks again',
      );
    }
  }
}
