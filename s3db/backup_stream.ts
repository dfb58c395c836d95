import { encodeBackup } from './backup_file.ts';
import { isDamage } from './damage.ts';
import type { StateRows } from './state_machine.ts';

interface BackupStreamOptions {
  readonly clusterId: string;
  readonly nowMs: number;
  readonly onDamage: (error: unknown) => void;
  /** However it ends; called once. */
  readonly onEnd: () => void;
}

/** What it holds on to is let go when nobody reads on for so long. */
const stallMs = 60_000;

/** A backup's bytes, to be sent once. It ends what it was given when it is done, given up, or not read on for a minute. */
export function backupStream(state: StateRows, options: BackupStreamOptions): AsyncIterable<Uint8Array> {
  const { index, term, logTimeMs } = state;
  const head = {
    cluster: options.clusterId,
    index,
    term,
    logTime: logTimeMs === 0 ? null : new Date(logTimeMs).toISOString(),
    created: new Date(options.nowMs).toISOString(),
  };
  let ended: Promise<void> | undefined;
  const end = (): Promise<void> => {
    clearTimeout(stall);
    ended ??= state.close().finally(options.onEnd);
    return ended;
  };
  const stall = setTimeout(() => void end(), stallMs);
  return watched();

  async function* watched(): AsyncGenerator<Uint8Array> {
    try {
      for await (const piece of encodeBackup(head, state.rows())) {
        if (ended !== undefined) throw new Error('the backup was not read on: it is given up');
        stall.refresh();
        yield piece;
      }
    } catch (error) {
      if (isDamage(error)) options.onDamage(error);
      throw error;
    } finally {
      await end();
    }
  }
}
