/**
 * What a segmented, group-committed, append-only log promises. `wal/FORMAT.md` gives the bytes.
 *
 * - An append resolves only after an fdatasync that covers it; if it rejects, the record may or may not be there
 *   after a restart, and the log accepts nothing more (a failed fsync is never retried).
 * - Records come back in the order in which they were appended.
 * - `read` and `scan` check every CRC before a byte leaves; damage is reported, never returned and never skipped.
 */
export interface AppendLog {
  /**
   * Appends the records as one unit of order: contiguous, in the order given, in one segment. Positions are in the same
   * order. Keys and payloads must not change until it settles.
   * @throws LogFullError when there is no space (nothing is kept, the log lives on); LogFailedError once it is dead.
   */
  append(records: readonly LogRecord[], options?: AppendOptions): Promise<readonly Position[]>;
  /** @throws RecordDamagedError when the bytes at `position` fail their checks. */
  read(position: Position): Promise<StoredRecord>;
  /** Every record from `from` (default: the oldest segment) to the end as it was when the scan began. */
  scan(from?: LogPoint, options?: ScanOptions): AsyncIterable<ScanItem>;
  /** The point after the last durable record. */
  readonly end: LogPoint;
  /** Ids of all segments, oldest first; the last is the active one. */
  readonly segments: readonly SegmentInfo[];
  /** fdatasyncs since it was opened, one for each group of appends. */
  readonly syncs: number;
  /** Seals the active segment and starts another. Resolves with the id of the new one. */
  roll(): Promise<number>;
  /** Unlinks a sealed segment once no reader holds it. */
  dropSegment(id: number): Promise<void>;
  /** Set once after a write or fsync error: every later append rejects with it. */
  readonly failure: Error | undefined;
  close(): Promise<void>;
}

export interface AppendOptions {
  /** Goes on below the reserve of free space: for deletes and compaction, which make room. Default false. */
  readonly essential?: boolean;
}

export interface ScanOptions {
  /** Keys and payloads are only good until the next item is asked for, which costs less memory. Default false. */
  readonly transient?: boolean;
}

export interface LogRecord {
  /** 1..255, the owner's meaning. */
  readonly type: number;
  /** At most 255 bytes; what a record is about. */
  readonly key: Uint8Array;
  /** May be given in pieces, so that a caller need not copy. At most `maxPayloadBytes` in all (16 MiB). */
  readonly payload: Uint8Array | readonly Uint8Array[];
}

/** Where a record lies. `lengthBytes` covers header, key and payload. */
export interface Position {
  readonly segment: number;
  readonly offset: number;
  readonly lengthBytes: number;
}

/** A place between records. */
export interface LogPoint {
  readonly segment: number;
  readonly offset: number;
}

export interface SegmentInfo {
  readonly id: number;
  readonly sizeBytes: number;
  readonly sealed: boolean;
}

export interface StoredRecord {
  readonly type: number;
  readonly key: Uint8Array;
  readonly payload: Uint8Array;
}

/**
 * A scan meets records and damage; damage names the bytes that could not be read as records. `owner` is there when type
 * and key passed their check, so that only the payload is lost.
 */
export type ScanItem =
  | { readonly kind: 'record'; readonly position: Position; readonly record: StoredRecord }
  | {
      readonly kind: 'damage';
      readonly segment: number;
      readonly from: number;
      readonly to: number;
      readonly reason: string;
      readonly owner?: { readonly type: number; readonly key: Uint8Array };
    };
