import { setImmediate as nextTurn } from 'node:timers/promises';
import { createSegment, type ActiveSegment } from './active_segment.ts';
import type {
  AppendLog,
  AppendOptions,
  LogPoint,
  LogRecord,
  Position,
  ScanItem,
  ScanOptions,
  SegmentInfo,
  StoredRecord,
} from './append_log.ts';
import {
  LogBusyError,
  LogClosedError,
  LogFailedError,
  LogFullError,
  LogLockedError,
  RecordInvalidError,
  SegmentActiveError,
} from './errors.ts';
import { isNoSpace, type DirectoryLock } from './file_system.ts';
import { ANCHOR_PAYLOAD, SEAL_PAYLOAD, SEGMENT_HEADER_BYTES, type LogIdentity } from './format.ts';
import { encodeGroup, prepareInternal, prepareRecord, type PreparedRecord } from './group_encoder.ts';
import { openLocked, type OpenParts } from './log_opening.ts';
import { withDefaults, type LogOptions } from './log_options.ts';
import { readRecord, scanSegments } from './log_reader.ts';
import type { RecoveryReport } from './recovery.ts';
import type { SegmentFiles } from './segment_files.ts';

const MIB = 1024 * 1024;

/** Most bytes of one append, headers included. */
const MAX_APPEND_BYTES = 64 * MIB;
const MAX_WAITING_APPENDS = 65_536;
const FREE_SPACE_CHECK_MS = 250;

interface WaitingAppend {
  readonly kind: 'append';
  readonly records: readonly PreparedRecord[];
  readonly lengthBytes: number;
  readonly essential: boolean;
  readonly resolve: (positions: readonly Position[]) => void;
  readonly reject: (error: Error) => void;
}

interface WaitingRoll {
  readonly kind: 'roll';
  readonly resolve: (segment: number) => void;
  readonly reject: (error: Error) => void;
}

/** `AppendLog` on a directory of segment files; FORMAT.md gives the bytes and what opening does. */
export class Log implements AppendLog {
  /** What the open found, kept, cut and put aside. */
  readonly recovery: RecoveryReport;
  readonly #options: Required<LogOptions>;
  readonly #lock: DirectoryLock;
  readonly #identity: LogIdentity;
  readonly #files: SegmentFiles;
  #active: ActiveSegment;
  #nextSequence: number;
  #nextSegment: number;
  /** Everything in front of it is durable. */
  #end: LogPoint;
  /** Whether something was written that no later record proves durable yet. */
  #unproven = true;

  #waiting: (WaitingAppend | WaitingRoll)[] = [];
  #waitingBytes = 0;
  #syncs = 0;
  #readyWaiters: { readonly lengthBytes: number; readonly wake: () => void }[] = [];
  #running: Promise<void> | undefined;
  #failure: Error | undefined;
  #stalled = false;
  #closing: Promise<void> | undefined;
  #free = { bytes: 0, checkedAtMs: -Infinity };

  private constructor(parts: OpenParts) {
    this.recovery = parts.recovery;
    this.#options = parts.options;
    this.#lock = parts.lock;
    this.#identity = parts.identity;
    this.#files = parts.files;
    this.#active = parts.active;
    this.#nextSequence = parts.sequence;
    this.#nextSegment = parts.active.segment.id + 1;
    this.#end = { segment: parts.active.segment.id, offset: parts.active.segment.sizeBytes };
  }

  /**
   * Opens the directory, after recovery.
   * @throws LogLockedError, LogDamagedError, LogFullError, RecordInvalidError (an option outside its limits), and system
   * errors.
   */
  static async open(options: LogOptions): Promise<Log> {
    const full = withDefaults(options);
    await full.fileSystem.makeDirectory(full.directory);
    const lock = await takeLock(full);
    if (lock === undefined) throw new LogLockedError(full.directory);
    try {
      const parts = await openLocked(full, lock);
      const log = new Log(parts);
      // Nothing is written behind damage: the segment is sealed as it is.
      if (parts.recovery.damaged.length > 0 || parts.active.segment.sealed) await log.roll();
      return log;
    } catch (error) {
      await lock.release();
      throw error;
    }
  }

  get end(): LogPoint {
    return this.#end;
  }

  /** The log's random id, 16 bytes. */
  get id(): Uint8Array {
    return this.#identity.id;
  }

  get failure(): Error | undefined {
    return this.#failure;
  }

  get syncs(): number {
    return this.#syncs;
  }

  get segments(): readonly SegmentInfo[] {
    return this.#files.list().map(({ id, sizeBytes, sealed }) => ({ id, sizeBytes, sealed }));
  }

  async append(records: readonly LogRecord[], options: AppendOptions = {}): Promise<readonly Position[]> {
    if (records.length === 0) throw new RecordInvalidError('records: at least one expected');
    const prepared = records.map(prepareRecord);
    let lengthBytes = 0;
    for (const record of prepared) lengthBytes += record.lengthBytes;
    if (lengthBytes > MAX_APPEND_BYTES) {
      throw new RecordInvalidError(
        `records: at most ${MAX_APPEND_BYTES} bytes in one append, got ${lengthBytes}`,
      );
    }
    this.#checkOpen();
    if (
      this.#waiting.length >= MAX_WAITING_APPENDS ||
      (this.#waitingBytes > 0 &&
        this.#waitingBytes + lengthBytes > 4 * this.#options.maxWaitingBytes + MAX_APPEND_BYTES)
    ) {
      throw new LogBusyError(this.#waiting.length);
    }
    return new Promise((resolve, reject) => {
      const essential = options.essential ?? false;
      this.#waiting.push({ kind: 'append', records: prepared, lengthBytes, essential, resolve, reject });
      this.#waitingBytes += lengthBytes;
      this.#start();
    });
  }

  /**
   * Resolves once fewer bytes wait than `maxWaitingBytes`: a stream's producer awaits it before it appends so many and
   * reads on. Producers get their turn in the order in which they asked, as many as there is room for.
   */
  async ready(lengthBytes: number): Promise<void> {
    if (this.#waitingBytes >= this.#options.maxWaitingBytes || this.#readyWaiters.length > 0) {
      if (this.#failure === undefined) {
        await new Promise<void>((wake) => this.#readyWaiters.push({ lengthBytes, wake }));
      }
    }
    this.#checkOpen();
  }

  async read(position: Position): Promise<StoredRecord> {
    return readRecord({ files: this.#files, identity: this.#identity }, position);
  }

  scan(from?: LogPoint, options: ScanOptions = {}): AsyncGenerator<ScanItem> {
    return scanSegments(
      { files: this.#files, identity: this.#identity },
      { ...options, from, end: this.#end },
    );
  }

  /** As `scan`, of one segment. */
  scanSegment(id: number, options: ScanOptions = {}): AsyncGenerator<ScanItem> {
    return scanSegments(
      { files: this.#files, identity: this.#identity },
      { ...options, from: { segment: id, offset: 0 }, end: this.#end, only: id },
    );
  }

  /** Keeps a segment's file until the returned function is called. @throws SegmentNotFoundError */
  hold(segment: number): () => void {
    return this.#files.hold(segment);
  }

  async roll(): Promise<number> {
    this.#checkOpen();
    return new Promise((resolve, reject) => {
      this.#waiting.push({ kind: 'roll', resolve, reject });
      this.#start();
    });
  }

  async dropSegment(id: number): Promise<void> {
    this.#checkOpen();
    if (id === this.#active.segment.id) throw new SegmentActiveError(id);
    await this.#files.drop(id);
  }

  async close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    // What was appended before is written; what hangs has failed by then, and isn't waited for.
    await this.#running;
    try {
      if (this.#failure === undefined && this.#unproven && !this.#active.segment.sealed)
        await this.#writeAnchor();
    } finally {
      await this.#files.close();
      // A descriptor with a call that hangs can't be closed; it ends with the process.
      if (!this.#stalled) await this.#active.file.close();
      await this.#lock.release();
    }
  }

  #checkOpen(): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#closing !== undefined) throw new LogClosedError();
  }

  #start(): void {
    this.#running ??= this.#run();
  }

  /** Ends when nothing waits, or with the log dead. Never rejects. */
  async #run(): Promise<void> {
    try {
      while (this.#waiting.length > 0 && this.#failure === undefined) {
        const next = this.#waiting[0];
        if (next?.kind === 'roll') await this.#runRoll(next);
        else await this.#runGroup();
        this.#wakeReady();
        // Whoever was acknowledged gets the chance to be in the next group.
        await nextTurn();
      }
    } catch (error) {
      this.#fail(error);
    }
    this.#running = undefined;
  }

  async #runRoll(roll: WaitingRoll): Promise<void> {
    this.#waiting.shift();
    try {
      await this.#rollNow();
      roll.resolve(this.#active.segment.id);
    } catch (error) {
      roll.reject(error instanceof LogFullError ? error : this.#fail(error));
    }
  }

  async #runGroup(): Promise<void> {
    const group = await this.#takeGroup();
    if (group.length === 0) return;
    try {
      const positions = await this.#commit(group.flatMap((append) => append.records));
      let from = 0;
      for (const append of group) {
        append.resolve(positions.slice(from, from + append.records.length));
        from += append.records.length;
      }
    } catch (error) {
      if (!(error instanceof LogFullError)) {
        const failure = this.#fail(error);
        for (const append of group) append.reject(failure);
        return;
      }
      // What makes room gets a second try without the rest.
      const essential = group.filter((append) => append.essential);
      const refused = essential.length === group.length ? group : group.filter((append) => !append.essential);
      for (const append of refused) append.reject(error);
      if (essential.length === group.length) return;
      this.#waiting.unshift(...essential);
      for (const append of essential) this.#waitingBytes += append.lengthBytes;
    }
  }

  /** Takes what fits into one group and the active segment; rolls first when the first append doesn't fit. */
  async #takeGroup(): Promise<WaitingAppend[]> {
    const enough = await this.#hasRoom();
    const group: WaitingAppend[] = [];
    let groupBytes = 0;
    let taken = 0;
    for (const next of this.#waiting) {
      if (next.kind === 'roll') break;
      if (!enough && !next.essential) {
        next.reject(new LogFullError(`less than ${this.#options.reserveBytes} bytes are free`));
      } else {
        if (groupBytes > 0 && groupBytes + next.lengthBytes > this.#options.maxGroupBytes) break;
        if (!this.#fits(groupBytes, next.lengthBytes)) break;
        group.push(next);
        groupBytes += next.lengthBytes;
      }
      taken += 1;
      this.#waitingBytes -= next.lengthBytes;
    }
    if (taken > 0) {
      this.#waiting.splice(0, taken);
      return group;
    }
    try {
      await this.#rollNow();
    } catch (error) {
      if (!(error instanceof LogFullError)) throw error;
      const first = this.#waiting.shift();
      if (first?.kind === 'append') this.#waitingBytes -= first.lengthBytes;
      first?.reject(error);
    }
    return group;
  }

  #fits(groupBytes: number, lengthBytes: number): boolean {
    const { sealed, sizeBytes } = this.#active.segment;
    if (sealed) return false;
    const used = sizeBytes + groupBytes;
    return used === SEGMENT_HEADER_BYTES || used + lengthBytes <= this.#options.segmentSizeBytes;
  }

  async #hasRoom(): Promise<boolean> {
    const { reserveBytes, fileSystem, directory } = this.#options;
    const now = performance.now();
    const stale = now - this.#free.checkedAtMs > FREE_SPACE_CHECK_MS;
    if (stale || this.#free.bytes - this.#waitingBytes < reserveBytes) {
      this.#free = { bytes: await fileSystem.freeBytes(directory), checkedAtMs: now };
    }
    return this.#free.bytes - Math.min(this.#waitingBytes, this.#options.maxGroupBytes) >= reserveBytes;
  }

  /** Writes the records behind the end of the active segment and makes them durable. */
  async #commit(records: readonly PreparedRecord[]): Promise<readonly Position[]> {
    const { segment, file } = this.#active;
    const encoded = encodeGroup(records, {
      identity: this.#identity,
      start: { segment: segment.id, offset: segment.sizeBytes },
      sequence: this.#nextSequence,
      durable: this.#end,
    });
    await this.#watched(async () => {
      try {
        await file.writeDurably(encoded.pieces, segment.sizeBytes);
      } catch (error) {
        if (!isNoSpace(error)) throw error;
        await file.truncate(segment.sizeBytes);
        await file.dataSync();
        throw new LogFullError('no space left', { cause: error });
      }
    });
    this.#syncs++;
    segment.sizeBytes += encoded.lengthBytes;
    this.#free.bytes -= encoded.lengthBytes;
    this.#nextSequence += records.length;
    this.#end = { segment: segment.id, offset: segment.sizeBytes };
    this.#unproven = true;
    return encoded.positions;
  }

  async #rollNow(): Promise<void> {
    if (!this.#active.segment.sealed) {
      await this.#commit([prepareInternal(SEAL_PAYLOAD)]);
      this.#active.segment.sealed = true;
    }
    const id = this.#nextSegment;
    const created = await this.#watched(() =>
      createSegment(this.#options, { id, firstSequence: this.#nextSequence, identity: this.#identity }),
    );
    // Not before: a crash may bring back a segment whose creation found no space. Under the number that the next attempt
    // takes again it is that segment, empty; in front of another it would look like one that lost its end.
    this.#nextSegment += 1;
    await this.#active.file.close();
    this.#active = created;
    this.#files.add(created.segment);
    this.#end = { segment: id, offset: created.segment.sizeBytes };
    this.#unproven = false;
  }

  async #writeAnchor(): Promise<void> {
    try {
      await this.#commit([prepareInternal(ANCHOR_PAYLOAD)]);
    } catch (error) {
      // The anchor only narrows what recovery can't tell apart; without space it is left out.
      if (!(error instanceof LogFullError)) throw this.#fail(error);
    }
  }

  /** Fails `action` when the disk doesn't answer in time; its own outcome is ignored then. */
  async #watched<T>(action: () => Promise<T>): Promise<T> {
    const { stallTimeoutMs } = this.#options;
    const stalled = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      this.#stalled = true;
      stalled.reject(new LogFailedError(`the disk stalled for ${stallTimeoutMs} ms`));
    }, stallTimeoutMs);
    try {
      return await Promise.race([action(), stalled.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** The log is dead from here on; whatever waits is refused. */
  #fail(error: unknown): Error {
    this.#failure ??=
      error instanceof LogFailedError
        ? error
        : new LogFailedError(`a write or fsync in ${this.#options.directory} failed`, { cause: error });
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    for (const item of waiting) item.reject(this.#failure);
    this.#wakeReady();
    return this.#failure;
  }

  #wakeReady(): void {
    let room = this.#failure === undefined ? this.#options.maxWaitingBytes - this.#waitingBytes : Infinity;
    while (room > 0) {
      const next = this.#readyWaiters.shift();
      if (next === undefined) return;
      room -= next.lengthBytes;
      next.wake();
    }
    // Who was let through may not append after all; no group would end then to let the next ones through.
    if (this.#waiting.length === 0) setImmediate(() => this.#wakeReady());
  }
}

async function takeLock({ fileSystem, directory }: Required<LogOptions>): Promise<DirectoryLock | undefined> {
  try {
    return await fileSystem.lock(directory);
  } catch (error) {
    if (!isNoSpace(error)) throw error;
    throw new LogFullError(`no space left to open ${directory}`, { cause: error });
  }
}
