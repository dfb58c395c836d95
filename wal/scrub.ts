import type { LogPoint } from './append_log.ts';
import type { Log } from './log.ts';
import { Pace, type PaceOptions } from './pace.ts';
import type { DamagedRange } from './recovery.ts';

export interface ScrubOptions extends PaceOptions {
  /** Where to go on, in whole segments. Default: the oldest. */
  readonly from?: number;
  /** After each segment; `next` is where to go on after an interruption. */
  readonly onSegment?: (progress: {
    readonly next: number;
    readonly damaged: readonly DamagedRange[];
  }) => Promise<void>;
}

export interface ScrubReport {
  readonly segments: number;
  readonly records: number;
  readonly bytes: number;
  /** At most 10,000. */
  readonly damaged: readonly DamagedRange[];
}

const MAX_FINDINGS = 10_000;

/**
 * Reads every record from `from` to the end as it is now and checks its CRCs. Segments that are dropped meanwhile are
 * passed over. @throws the reason of an aborted `signal`
 */
export async function scrubLog(log: Log, options: ScrubOptions): Promise<ScrubReport> {
  const pace = new Pace(options);
  const end: LogPoint = log.end;
  const damaged: DamagedRange[] = [];
  let segments = 0;
  let records = 0;
  let bytes = 0;
  const ids = log.segments.map(({ id }) => id).filter((id) => id >= (options.from ?? 0) && id <= end.segment);
  for (const id of ids) {
    const found: DamagedRange[] = [];
    for await (const item of log.scanSegment(id, { transient: true })) {
      if (item.kind === 'record') {
        records += 1;
        bytes += item.position.lengthBytes;
        await pace.spend(item.position.lengthBytes);
      } else if (found.length < MAX_FINDINGS) {
        const { segment, from, to, reason } = item;
        found.push({ segment, from, to, reason });
      }
    }
    segments += 1;
    damaged.push(...found.slice(0, MAX_FINDINGS - damaged.length));
    await options.onSegment?.({ next: id + 1, damaged: found });
  }
  return { segments, records, bytes, damaged };
}
