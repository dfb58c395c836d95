import type { AppendLog, LogRecord } from '../wal/append_log.ts';
import { ByteReader, ByteWriter } from '../wal/byte_codec.ts';
import { readEntryHead, readSnapshotMeta, writeEntryHead, writeSnapshotMeta } from './log_record_codec.ts';
import type { RaftStorage } from './driver_ports.ts';
import type { Entry, HardState, SnapshotMeta } from './raft/types.ts';

/** What was found on disk. */
export interface RecoveredLog {
  readonly hardState: HardState;
  /** What lies before the first entry; undefined: the log was never started. */
  readonly snapshot: SnapshotMeta | undefined;
  readonly entries: readonly Entry[];
}

/** The log was written by a newer program. */
class UnknownFormatError extends Error {
  override readonly name = 'UnknownFormatError';
}

/** The log holds what can't be: damage in its middle, or records that contradict each other. */
export class RaftLogDamagedError extends Error {
  override readonly name = 'RaftLogDamagedError';
}

/**
 * The Raft log as records of an append-only log. A record is an entry, the hard state, or one of two marks that repeat the hard
 * state and say where the log begins: *compacted* (entries at and before it are done with, those behind it stay) and *restarted* (a
 * snapshot was installed, everything before the mark is void). Truncation follows from order: an entry replaces all
 * entries from its index on. Whole segments are dropped from the oldest on, after a mark has been written behind them.
 */
export class WalRaftStorage implements RaftStorage {
  readonly #log: AppendLog;
  /** The highest entry index ever written to each segment. */
  readonly #highest: Map<number, number>;
  /** For each append under way, the oldest segment that its records may be in. */
  readonly #underWay = new Set<{ readonly segment: number }>();
  #hardState: HardState;

  private constructor(log: AppendLog, recovery: LogRecovery) {
    this.#log = log;
    this.#highest = recovery.highest;
    this.#hardState = recovery.hardState;
  }

  /**
   * Reads the whole log. The storage owns `log` from now on.
   * @throws RaftLogDamagedError: the log can't be trusted; the replica must be rebuilt under a new identity.
   */
  static async open(
    log: AppendLog,
  ): Promise<{ readonly storage: WalRaftStorage; readonly recovered: RecoveredLog }> {
    try {
      const recovery = new LogRecovery();
      for await (const item of log.scan()) {
        if (item.kind === 'damage') {
          const { segment, from, to, reason } = item;
          throw new RaftLogDamagedError(`segment ${segment}, bytes ${from} to ${to}: ${reason}`);
        }
        recovery.take(item.record.type, item.record.payload, item.position.segment);
      }
      return { recovered: recovery.result(), storage: new WalRaftStorage(log, recovery) };
    } catch (error) {
      await log.close();
      throw error;
    }
  }

  async append(batch: { readonly hardState?: HardState; readonly entries: readonly Entry[] }): Promise<void> {
    const records: LogRecord[] = [];
    if (batch.hardState !== undefined) {
      this.#hardState = batch.hardState;
      records.push(hardStateRecord(batch.hardState));
    }
    for (const entry of batch.entries) records.push(entryRecord(entry));
    if (records.length === 0) return;
    const mark = { segment: this.#activeSegment() };
    this.#underWay.add(mark);
    // Called one after the other without waiting, so the log keeps their order and may still sync them as one.
    const groups = await Promise.all(groupsOf(records).map((group) => this.#log.append(group, essential)));
    const positions = groups.flat();
    const offset = records.length - batch.entries.length;
    for (const [i, entry] of batch.entries.entries()) {
      const segment = positions[offset + i]?.segment;
      if (segment === undefined) throw new Error('an append gives a position for each record');
      if (entry.index > (this.#highest.get(segment) ?? 0)) this.#highest.set(segment, entry.index);
    }
    this.#underWay.delete(mark);
  }

  async restart(snapshot: SnapshotMeta, hardState?: HardState): Promise<void> {
    if (hardState !== undefined) this.#hardState = hardState;
    const first = await this.#writeMark(restartedType, snapshot);
    await this.#drop(this.#droppable(Infinity).filter((id) => id < first));
  }

  async compact(upTo: SnapshotMeta): Promise<void> {
    const droppable = this.#droppable(upTo.index);
    if (droppable.length === 0) return;
    const first = await this.#writeMark(compactedType, upTo);
    await this.#drop(droppable.filter((id) => id < first));
  }

  /** On disk. */
  size(): { readonly segments: number; readonly bytes: number; readonly syncs: number } {
    const { segments, syncs } = this.#log;
    return {
      syncs,
      segments: segments.length,
      bytes: segments.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    };
  }

  async close(): Promise<void> {
    await this.#log.close();
  }

  /** Durable when it resolves with its segment: nothing before that is needed for the hard state. */
  async #writeMark(type: number, snapshot: SnapshotMeta): Promise<number> {
    const [mark] = await this.#log.append([markRecord(type, snapshot, this.#hardState)], essential);
    if (mark === undefined) throw new Error('an append gives a position for each record');
    return mark.segment;
  }

  /** The oldest segments that hold no entry behind the index. */
  #droppable(index: number): number[] {
    const oldestUnderWay = Math.min(...[...this.#underWay].map((mark) => mark.segment), Infinity);
    const droppable: number[] = [];
    for (const segment of this.#log.segments) {
      if (!segment.sealed || segment.id >= oldestUnderWay || (this.#highest.get(segment.id) ?? 0) > index)
        break;
      droppable.push(segment.id);
    }
    return droppable;
  }

  async #drop(segments: readonly number[]): Promise<void> {
    for (const id of segments) {
      await this.#log.dropSegment(id);
      this.#highest.delete(id);
    }
  }

  #activeSegment(): number {
    return this.#log.segments.at(-1)?.id ?? 0;
  }
}

/** Space is watched where writes are let in: what Raft has decided must go on. */
const essential = { essential: true };
const entryType = 1;
const hardStateType = 2;
const compactedType = 3;
const restartedType = 4;
const recordFormat = 1;
const noKey = new Uint8Array(0);
const maxAppendBytes = 16 * 1024 * 1024;
const recordOverheadBytes = 64;

/** Within what the log takes at once. */
function groupsOf(records: readonly LogRecord[]): readonly (readonly LogRecord[])[] {
  let bytes = 0;
  const groups: LogRecord[][] = [[]];
  for (const record of records) {
    const size = record.payload instanceof Uint8Array ? record.payload.length : bytesOf(record.payload);
    if (bytes > 0 && bytes + size > maxAppendBytes) {
      groups.push([]);
      bytes = 0;
    }
    groups.at(-1)?.push(record);
    bytes += size + recordOverheadBytes;
  }
  return groups;
}

function bytesOf(pieces: readonly Uint8Array[]): number {
  return pieces.reduce((sum, piece) => sum + piece.length, 0);
}

function entryRecord(entry: Entry): LogRecord {
  const out = new ByteWriter(24);
  out.u8(recordFormat);
  writeEntryHead(out, entry);
  return { type: entryType, key: noKey, payload: [out.finish(), entry.data] };
}

function hardStateRecord(hardState: HardState): LogRecord {
  const out = new ByteWriter(32);
  out.u8(recordFormat);
  writeHardState(out, hardState);
  return { type: hardStateType, key: noKey, payload: out.finish() };
}

/** One record for both: between them a crash could leave a commit index behind the end of the log. */
function markRecord(type: number, snapshot: SnapshotMeta, hardState: HardState): LogRecord {
  const out = new ByteWriter(96);
  out.u8(recordFormat);
  writeHardState(out, hardState);
  writeSnapshotMeta(out, snapshot);
  return { type, key: noKey, payload: out.finish() };
}

function writeHardState(out: ByteWriter, hardState: HardState): void {
  out.varint(hardState.term);
  out.u64(hardState.vote);
  out.varint(hardState.commit);
}

function readHardState(input: ByteReader): HardState {
  const term = input.varint();
  const vote = input.u64();
  return { term, vote, commit: input.varint() };
}

/** Follows the records from the oldest on. */
class LogRecovery {
  readonly highest = new Map<number, number>();
  hardState: HardState = { term: 0, vote: 0n, commit: 0 };
  #base: SnapshotMeta | undefined;
  #entries: Entry[] = [];

  take(type: number, payload: Uint8Array, segment: number): void {
    const input = new ByteReader(payload);
    const format = input.u8();
    if (format !== recordFormat)
      throw new UnknownFormatError(`the log has a record of format ${format}, not known here`);
    switch (type) {
      case entryType: {
        const head = readEntryHead(input);
        this.#takeEntry({ ...head, data: input.raw(input.remaining) });
        this.highest.set(segment, Math.max(head.index, this.highest.get(segment) ?? 0));
        break;
      }
      case hardStateType:
        this.hardState = readHardState(input);
        break;
      case compactedType:
        this.hardState = readHardState(input);
        this.#takeCompacted(readSnapshotMeta(input));
        break;
      case restartedType:
        this.hardState = readHardState(input);
        this.#base = readSnapshotMeta(input);
        this.#entries = [];
        break;
      default:
        throw new UnknownFormatError(`the log has a record of type ${type}, not known here`);
    }
    input.end();
  }

  result(): RecoveredLog {
    const [first] = this.#entries;
    const base = this.#base;
    if (first !== undefined && (base === undefined || first.index > base.index + 1)) {
      throw new RaftLogDamagedError(`the entries before ${first.index} are missing`);
    }
    const last = this.#entries.at(-1)?.index ?? base?.index ?? 0;
    if (this.hardState.commit > last) {
      throw new RaftLogDamagedError(`the log ends at ${last}, before commit ${this.hardState.commit}`);
    }
    return { hardState: this.hardState, snapshot: base, entries: this.#entries };
  }

  #takeEntry(entry: Entry): void {
    if (this.#base !== undefined && entry.index <= this.#base.index) {
      throw new RaftLogDamagedError(
        `entry ${entry.index} lies before the log's beginning at ${this.#base.index}`,
      );
    }
    const first = this.#entries[0]?.index ?? entry.index;
    const at = entry.index - first;
    // What an entry doesn't continue lay in segments that were dropped: a compacted mark behind it must say so.
    this.#entries.length = at > this.#entries.length ? 0 : Math.max(at, 0);
    this.#entries.push(entry);
  }

  #takeCompacted(mark: SnapshotMeta): void {
    if (this.#base !== undefined && mark.index < this.#base.index) {
      throw new RaftLogDamagedError(`compacted to ${mark.index} after ${this.#base.index}`);
    }
    const first = this.#entries[0]?.index ?? mark.index + 1;
    const last = this.#entries[mark.index - first];
    if (last !== undefined && last.term !== mark.term) {
      throw new RaftLogDamagedError(
        `entry ${mark.index} has term ${last.term}, was compacted with ${mark.term}`,
      );
    }
    this.#base = mark;
    if (first <= mark.index) this.#entries = this.#entries.slice(mark.index + 1 - first);
  }
}
