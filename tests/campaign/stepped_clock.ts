import { access, writeFile } from 'node:fs/promises';
import { systemErrorCode } from '../../wal/file_system.ts';
import { replaceFile } from './control_file.ts';

const machines: Readonly<Partial<Record<string, string>>> = { x64: 'x86_64', arm64: 'aarch64' };
const library = `/usr/lib/${machines[process.arch] ?? process.arch}-linux-gnu/faketime/libfaketimeMT.so.1`;

/** Steps that a cluster has to bear: within the quarter of an hour by which S3 lets clocks differ. */
export const clockStepsSeconds = [-240, -60, 90, 280];

/** Whether the library is there that steps clocks (Debian's libfaketime). */
export async function canStepClocks(): Promise<boolean> {
  try {
    await access(library);
    return true;
  } catch {
    return false;
  }
}

/** The wall clock of one process, which can be stepped while it runs. Its monotonic clock goes on as it does. */
export class SteppedClock {
  readonly #file: string;

  /** @param file where the clock is told how far off it is; each process needs one of its own. */
  constructor(file: string) {
    this.#file = file;
  }

  /** What the process has to be started with; nothing where clocks can't be stepped. */
  async environment(): Promise<Readonly<Record<string, string>>> {
    if (!(await canStepClocks())) return {};
    try {
      await writeFile(this.#file, '+0s\n', { flag: 'wx' });
    } catch (error) {
      if (systemErrorCode(error) !== 'EEXIST') throw error;
    }
    return {
      LD_PRELOAD: library,
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      DONT_FAKE_MONOTONIC: '1',
      FAKETIME_TIMESTAMP_FILE: this.#file,
      FAKETIME_CACHE_DURATION: '1',
    };
  }

  /** From within a second on it is so far from the true time, also after a restart. */
  async set(offsetSeconds: number): Promise<void> {
    await replaceFile(this.#file, `${offsetSeconds < 0 ? '' : '+'}${offsetSeconds}s\n`);
  }
}
