import { setTimeout as delay } from 'node:timers/promises';
import type { EngineLogger } from '../engine/context.ts';
import type { GlobalState } from '../global_state.ts';
import type { FileDataStore } from './file_data_store.ts';

const filesPerPause = 100;
const pauseMs = 20;

/**
 * Removes files that a crash left between writing content and naming it. A file written before this start can't be
 * named any more if no row names it now, since the upload that wrote it ended with its process. Paced; runs once a
 * start, beside the service.
 */
export async function removeOrphans(
  ports: { readonly state: GlobalState; readonly data: FileDataStore; readonly logger: EngineLogger },
  signal: AbortSignal,
): Promise<number> {
  let seen = 0;
  let removed = 0;
  for await (const stored of ports.data.earlierContents()) {
    if (signal.aborted) return removed;
    if (++seen % filesPerPause === 0) await delay(pauseMs);
    if (await ports.state.exists('objects', stored.contentId)) continue;
    await ports.data.removeStored(stored);
    removed++;
  }
  if (removed > 0) ports.logger.info({ removed }, 'removed content that a crash left without metadata');
  return removed;
}
