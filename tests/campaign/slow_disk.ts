import { rm } from 'node:fs/promises';
import { replaceFile } from './control_file.ts';
import type { Range } from './range.ts';

/** What a slow disk adds to each operation before it begins. */
export interface DiskDelays {
  readonly read: Range;
  readonly write: Range;
  readonly sync: Range;
}

/** Names the file in which a process finds the delays of its disk. */
export const controlVariable = 'S3D_CAMPAIGN_SLOW_DISK';
const preload = new URL('./slow_disk_preload.ts', import.meta.url).href;

/** What one process has below its file-system port: as fast as the disk is, until told otherwise. */
export class SlowDisk {
  readonly #file: string;

  /** @param file where the process looks for its delays; each needs one of its own. */
  constructor(file: string) {
    this.#file = file;
  }

  /** What the process has to be started with. The program itself knows nothing of it. */
  get environment(): Readonly<Record<string, string>> {
    return { NODE_OPTIONS: `--import=${preload}`, [controlVariable]: this.#file };
  }

  /** Within a moment, until told otherwise, also after a restart. */
  async slow(delays: DiskDelays): Promise<void> {
    await replaceFile(this.#file, JSON.stringify(delays));
  }

  /** What has begun to wait still waits. */
  async heal(): Promise<void> {
    await rm(this.#file, { force: true });
  }
}
