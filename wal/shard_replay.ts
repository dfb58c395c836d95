import type { AppendLog, LogPoint, ScanItem } from './append_log.ts';
import type { DamagedRange } from './recovery.ts';
import type { IndexStorage } from './index_storage.ts';
import {
  decodeClose,
  decodeTombstone,
  RECORD_CLOSE,
  RECORD_TOMBSTONE,
  SHARD_KEY_BYTES,
} from './shard_format.ts';
import { ShardIndex } from './shard_index.ts';

/** What bringing the index up to the log took. */
export interface ReplayReport {
  /** The stored index was missing or couldn't be trusted, and was made again from the segments. */
  readonly rebuilt: boolean;
  /** Records read. */
  readonly records: number;
  readonly damage: readonly DamagedRange[];
}

/** Most findings that a report lists. */
const MAX_FINDINGS = 10_000;

/** The index as the log has it, whatever state `storage` is in. */
export async function openIndex(
  storage: IndexStorage,
  from: { readonly log: AppendLog & { readonly id: Uint8Array }; readonly created: boolean },
): Promise<{ readonly index: ShardIndex; readonly replay: ReplayReport }> {
  const { log, created } = from;
  const stored = await ShardIndex.open(storage, log);
  if (stored?.position !== undefined) {
    return {
      index: stored,
      replay: await replayInto(stored, { log, rebuilt: false, from: stored.position }),
    };
  }
  await storage.clear();
  const fresh = await ShardIndex.open(storage, log);
  if (fresh === undefined) throw new TypeError('a cleared index is not empty');
  return { index: fresh, replay: await replayInto(fresh, { log, rebuilt: !created, from: undefined }) };
}

/** Applies one item of the log to the index; what isn't about a whole shard changes nothing. */
function replayItem(index: ShardIndex, item: ScanItem & { readonly kind: 'record' }): string | undefined {
  const { record, position } = item;
  const shardKey = record.key.subarray(0, SHARD_KEY_BYTES);
  if (record.type === RECORD_CLOSE) {
    const close = decodeClose(record, position);
    if (close === undefined) return 'a close of an unknown form';
    index.apply(shardKey, { kind: 'close', close, position });
  } else if (record.type === RECORD_TOMBSTONE) {
    const order = decodeTombstone(record.payload);
    if (order === undefined) return 'a tombstone of an unknown form';
    index.apply(shardKey, { kind: 'tombstone', order, position });
  }
  return undefined;
}

async function replayInto(
  index: ShardIndex,
  replay: { readonly log: AppendLog; readonly rebuilt: boolean; readonly from: LogPoint | undefined },
): Promise<ReplayReport> {
  const damage: DamagedRange[] = [];
  const tombstones = new Map<string, Uint8Array>();
  let records = 0;
  if (replay.rebuilt) index.noteRebuild();
  const { from } = replay;
  const lost = from === undefined ? undefined : lostTail(from, replay.log);
  if (lost !== undefined) damage.push(lost);
  for await (const item of replay.log.scan(from, { transient: true })) {
    if (item.kind === 'record') {
      records += 1;
      const { position } = item;
      const reason = replayItem(index, item);
      if (item.record.type === RECORD_TOMBSTONE && !replay.rebuilt) {
        tombstones.set(Buffer.from(item.record.key).toString('latin1'), item.record.key.slice());
      }
      if (reason !== undefined && damage.length < MAX_FINDINGS) {
        const { segment, offset, lengthBytes } = position;
        damage.push({ segment, from: offset, to: offset + lengthBytes, reason });
      }
      if (index.full) {
        await index.flush(() => ({
          segment: position.segment,
          offset: position.offset + position.lengthBytes,
        }));
      }
      continue;
    }
    const { segment, reason } = item;
    if (damage.length < MAX_FINDINGS) damage.push({ segment, from: item.from, to: item.to, reason });
  }
  await index.settle({
    segments: new Set(replay.log.segments.map(({ id }) => id)),
    tombstones: replay.rebuilt ? undefined : tombstones.values(),
  });
  const { end } = replay.log;
  await index.flush(() => end);
  return { rebuilt: replay.rebuilt, records, damage };
}

/**
 * A checkpoint behind the end of the log: its last group went bad while the log wasn't open, looked torn, and was cut.
 * What the index knows of it stays, so that those shards count as damaged rather than as never written.
 */
function lostTail(position: LogPoint, log: AppendLog): DamagedRange | undefined {
  const { end } = log;
  if (position.segment !== end.segment || position.offset <= end.offset) return undefined;
  return {
    segment: end.segment,
    from: end.offset,
    to: position.offset,
    reason: 'the end of the log was lost',
  };
}
