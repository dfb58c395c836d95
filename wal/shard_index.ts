import type { LogPoint, Position, SegmentInfo } from './append_log.ts';
import { readUInt64, writeUInt64 } from './format.ts';
import type { IndexOperation, IndexStorage } from './index_storage.ts';
import { IndexDamagedError } from './shard_errors.ts';
import {
  blockPosition,
  decodeEntry,
  encodeEntry,
  SHARD_KEY_BYTES,
  sealValue,
  unsealValue,
  type Close,
  type Entry,
} from './shard_format.ts';

/** What the log says about one shard: a close, or a deletion. */
type ShardEvent =
  | { readonly kind: 'close'; readonly close: Close; readonly position: Position }
  | { readonly kind: 'tombstone'; readonly order: number; readonly position: Position };

/** The log that the index is of. */
export interface IndexedLog {
  readonly id: Uint8Array;
  readonly segments: readonly SegmentInfo[];
}

interface IndexTotals {
  readonly shards: number;
  readonly liveBytes: number;
}

const ENTRY_PREFIX = 0x65; // e
const SEGMENT_PREFIX = 0x73; // s
const BATCH_PREFIX = 0x62; // b
const DROP_PREFIX = 0x64; // d
/** Segments are numbered from 1. */
const NO_SEGMENT = 0;
const META_KEY = Buffer.from('m');

/**
 * How many batch markers are kept. LevelDB can lose one batch from its write-ahead log and keep later ones; a gap in the
 * markers shows it. A batch is at least 100 bytes and the write-ahead log at most 4 MiB, so 65,536 reach far enough.
 */
const BATCH_MARKERS = 65_536;
/** Ids given out since the last flush are fewer than this: a flush happens each second. */
const ID_STEP = 1_048_576;
const FLUSH_ENTRIES = 4096;
const FLUSH_BYTES = 16 * 1024 * 1024;

/**
 * The map from shards to places in the log. It is a cache: updates are held in memory and written as one durable batch
 * together with the log position that they cover; from there the log is replayed. Applying the same events again, or
 * older ones, changes nothing.
 */
export class ShardIndex {
  readonly #storage: IndexStorage;
  readonly #log: IndexedLog;
  #dirty = new Map<string, Entry | undefined>();
  #flushing: ReadonlyMap<string, Entry | undefined> = new Map();
  #dirtyBytes = 0;
  /** Bytes of live records per segment. */
  readonly #segments = new Map<number, number>();
  readonly #dirtySegments = new Set<number>();
  /** Segments that are, or were, about to be unlinked; true while that is so. */
  readonly #drops = new Map<number, boolean>();
  #shards = 0;
  #liveBytes = 0;
  #nextId = 1;
  #batch = 0;
  #position: LogPoint | undefined;
  #changed = false;
  #flush: Promise<void> | undefined;
  #failure: Error | undefined;

  private constructor(storage: IndexStorage, log: IndexedLog) {
    this.#storage = storage;
    this.#log = log;
  }

  /** Undefined when what is stored can't be trusted, or is of another log: clear the storage and open again. */
  static async open(storage: IndexStorage, log: IndexedLog): Promise<ShardIndex | undefined> {
    const index = new ShardIndex(storage, log);
    try {
      return (await index.#load()) ? index : undefined;
    } catch (error) {
      if (error instanceof IndexDamagedError) return undefined;
      throw error;
    }
  }

  /** The log is to be replayed from here; undefined: from its beginning. */
  get position(): LogPoint | undefined {
    return this.#position;
  }

  get failure(): Error | undefined {
    return this.#failure;
  }

  get totals(): IndexTotals {
    return { shards: this.#shards, liveBytes: this.#liveBytes };
  }

  /** Whether so much is held in memory that it should be written now. */
  get full(): boolean {
    return this.#dirty.size >= FLUSH_ENTRIES || this.#dirtyBytes >= FLUSH_BYTES;
  }

  /** Above every id in use: for puts, and for the order of what is said about shards. */
  takeId(): number {
    this.#changed = true;
    return this.#nextId++;
  }

  liveBytesOf(segment: number): number {
    return this.#segments.get(segment) ?? 0;
  }

  /** @throws IndexDamagedError */
  get(shardKey: Uint8Array): Entry | undefined {
    const name = nameOf(shardKey);
    if (this.#dirty.has(name)) return this.#dirty.get(name);
    if (this.#flushing.has(name)) return this.#flushing.get(name);
    const key = entryKey(shardKey);
    let value: Uint8Array | undefined;
    try {
      value = this.#storage.get(key);
    } catch (error) {
      throw this.#fail('a read failed', error);
    }
    return value === undefined ? undefined : this.#decode(key, value);
  }

  /** Takes in what the log says. Resolves what is newest by `(order, revision)`, whatever the order of the calls. */
  apply(shardKey: Uint8Array, event: ShardEvent): void {
    const order = event.kind === 'close' ? event.close.order : event.order;
    this.#nextId = Math.max(this.#nextId, order + 1);
    if (event.kind === 'close') this.#nextId = Math.max(this.#nextId, event.close.putId + 1);
    this.#changed = true;
    const current = this.get(shardKey);
    const ghosts = current?.ghosts ?? [];
    const difference = current === undefined ? 1 : compare(event, current);
    if (difference > 0) {
      // A close that copies the one before leaves a ghost; so does one that replaces it.
      const left = current?.kind === 'live' ? withGhost(ghosts, current.position.segment) : ghosts;
      const next: Entry =
        event.kind === 'close'
          ? { kind: 'live', ...event.close, position: event.position, ghosts: left }
          : { kind: 'deleted', order: event.order, position: event.position, ghosts: left };
      this.#replace(shardKey, current, next);
    } else if (difference < 0 && event.kind === 'close' && current !== undefined) {
      const left = withGhost(ghosts, event.position.segment);
      if (left !== ghosts) this.#replace(shardKey, current, { ...current, ghosts: left });
    }
  }

  /** `segment` is gone, so no dead close of the shard lies there any more; a deletion without ghosts is forgotten. */
  forgetGhost(shardKey: Uint8Array, segment: number): void {
    const current = this.get(shardKey);
    if (current?.ghosts.includes(segment)) this.#forgetGhosts(shardKey, current, [segment]);
  }

  /** The segment is about to be unlinked: from the next flush on, an open that doesn't find it forgets its ghosts. */
  noteDrop(segment: number): void {
    this.#drops.set(segment, true);
    this.#changed = true;
  }

  /** The segment is gone and `forgetGhost` was called for every close in it. */
  forgetDrop(segment: number): void {
    this.#drops.set(segment, false);
    this.#changed = true;
  }

  /** The log is replayed from its beginning; should that be interrupted, the next `settle` looks at everything. */
  noteRebuild(): void {
    this.noteDrop(NO_SEGMENT);
  }

  /** After replay: forgets ghosts in segments that are gone, and deletions that cover nothing. */
  async settle(options: {
    readonly segments: ReadonlySet<number>;
    /** Tombstones that were replayed; undefined when the whole index was made again. */
    readonly tombstones: Iterable<Uint8Array> | undefined;
  }): Promise<void> {
    for (const shardKey of options.tombstones ?? []) {
      const entry = this.get(shardKey);
      if (entry !== undefined) this.#forgetGhosts(shardKey, entry, []);
    }
    const gone = [...this.#drops.keys()].filter((segment) => !options.segments.has(segment));
    if (gone.length > 0 || options.tombstones === undefined) {
      // Nothing else changes the index meanwhile, so that what the iteration gives is what is there.
      for await (const [shardKey, entry] of this.entries()) this.#forgetGhosts(shardKey, entry, gone);
    }
    for (const segment of this.#drops.keys()) this.forgetDrop(segment);
  }

  /** Of one that `get` gives; a deletion that covers nothing any more need not be remembered. */
  #forgetGhosts(shardKey: Uint8Array, entry: Entry, gone: readonly number[]): void {
    const ghosts = entry.ghosts.filter((ghost) => !gone.includes(ghost));
    if (entry.kind === 'deleted' && ghosts.length === 0) this.#replace(shardKey, entry, undefined);
    else if (ghosts.length < entry.ghosts.length) this.#replace(shardKey, entry, { ...entry, ghosts });
  }

  /** Entries after `startAfter` in order of key; what is in memory only is there too. */
  async *entries(startAfter?: Uint8Array): AsyncGenerator<readonly [Buffer, Entry]> {
    const after = startAfter === undefined ? undefined : nameOf(startAfter);
    const overlay = new Map([...this.#flushing, ...this.#dirty]);
    const names = [...overlay.keys()].filter((name) => after === undefined || name > after).sort(byBytes);
    let next = 0;
    const from = startAfter === undefined ? Buffer.from([ENTRY_PREFIX]) : behind(entryKey(startAfter));
    for await (const [key, value] of this.#storage.entries({ from, to: Buffer.from([ENTRY_PREFIX + 1]) })) {
      const shardKey = Buffer.from(key.subarray(1));
      const name = nameOf(shardKey);
      for (; next < names.length; next += 1) {
        const earlier = names[next];
        if (earlier === undefined || earlier >= name) break;
        const entry = overlay.get(earlier);
        if (entry !== undefined) yield [Buffer.from(earlier, 'latin1'), entry];
      }
      if (names[next] === name) next += 1;
      const entry = overlay.has(name) ? overlay.get(name) : this.#decode(key, value);
      if (entry !== undefined) yield [shardKey, entry];
    }
    for (const name of names.slice(next)) {
      const entry = overlay.get(name);
      if (entry !== undefined) yield [Buffer.from(name, 'latin1'), entry];
    }
  }

  /**
   * Writes what is held in memory. `position` is asked for at the moment at which the updates are taken: everything
   * that the log holds in front of it must have been applied.
   * @throws IndexDamagedError; the index is unusable from then on, the log isn't affected.
   */
  async flush(position: () => LogPoint): Promise<void> {
    while (this.#flush !== undefined) await this.#flush;
    if (!this.#changed) return;
    this.#flush = this.#write(position());
    try {
      await this.#flush;
    } finally {
      this.#flush = undefined;
    }
  }

  close(): Promise<void> {
    return this.#storage.close();
  }

  async #write(position: LogPoint): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    const taken = this.#dirty;
    this.#flushing = taken;
    this.#dirty = new Map();
    this.#dirtyBytes = 0;
    this.#changed = false;
    this.#position = position;
    this.#batch += 1;
    const operations: IndexOperation[] = [];
    const put = (key: Buffer, body: Buffer | undefined): void => {
      operations.push({ key, value: body === undefined ? undefined : sealValue(key, body) });
    };
    for (const [name, entry] of taken) {
      put(entryKey(Buffer.from(name, 'latin1')), entry === undefined ? undefined : encodeEntry(entry));
    }
    for (const segment of this.#dirtySegments) {
      const bytes = this.#segments.get(segment);
      put(segmentKey(segment), bytes === undefined ? undefined : numbers(bytes));
    }
    this.#dirtySegments.clear();
    for (const [segment, pending] of this.#drops) {
      put(dropKey(segment), pending ? Buffer.alloc(0) : undefined);
      if (!pending) this.#drops.delete(segment);
    }
    const { segment, offset } = position;
    const meta = numbers(segment, offset, this.#nextId, this.#shards, this.#liveBytes, this.#batch);
    put(META_KEY, Buffer.concat([meta, this.#log.id, numbers(this.#droppedBefore(segment))]));
    put(batchKey(this.#batch), Buffer.alloc(0));
    if (this.#batch > BATCH_MARKERS) put(batchKey(this.#batch - BATCH_MARKERS), undefined);
    try {
      await this.#storage.write(operations);
    } catch (error) {
      throw this.#fail('a write failed', error);
    }
    this.#flushing = new Map();
  }

  async #load(): Promise<boolean> {
    const meta = this.#storage.get(META_KEY);
    let markers = 0;
    let newest = 0;
    for await (const [key] of this.#storage.entries(prefixRange(BATCH_PREFIX))) {
      markers += 1;
      newest = Number(Buffer.from(key).readBigUInt64BE(1));
    }
    if (meta === undefined) {
      for await (const _entry of this.#storage.entries({ from: Buffer.alloc(0), to: Buffer.from([0xff]) }))
        return false;
      return true;
    }
    const body = unsealValue(META_KEY, meta);
    if (body === undefined || !body.subarray(48, 64).equals(this.#log.id)) return false;
    const at = (place: number): number => readUInt64(body, place * 8);
    this.#position = { segment: at(0), offset: at(1) };
    this.#nextId = at(2) + ID_STEP;
    this.#shards = at(3);
    this.#liveBytes = at(4);
    this.#batch = at(5);
    if (newest !== this.#batch || markers !== Math.min(this.#batch, BATCH_MARKERS)) return false;
    for await (const [key, value] of this.#storage.entries(prefixRange(SEGMENT_PREFIX))) {
      const bytes = unsealValue(key, value);
      if (bytes?.length !== 8) return false;
      this.#segments.set(Buffer.from(key).readUInt32BE(1), readUInt64(bytes, 0));
    }
    for await (const [key] of this.#storage.entries(prefixRange(DROP_PREFIX))) {
      this.#drops.set(Buffer.from(key).readUInt32BE(1), true);
    }
    return body.length < 72 || !this.#isBehindDrops(readUInt64(body, 64));
  }

  /**
   * More segments are gone than were, or were about to be, when this was written: newer batches have been lost, and
   * with them what the index was told before those segments could go.
   */
  #isBehindDrops(droppedThen: number): boolean {
    const dropped = this.#droppedBefore(this.#position?.segment ?? 0) - droppedThen;
    return dropped > [...this.#drops.keys()].filter((segment) => segment !== NO_SEGMENT).length;
  }

  /** How many segments up to `segment` are gone. */
  #droppedBefore(segment: number): number {
    return segment - this.#log.segments.filter(({ id }) => id <= segment).length;
  }

  /** `before`: what `get` gives; looking again would cost a rebuild a read of the disk for each record. */
  #replace(shardKey: Uint8Array, before: Entry | undefined, entry: Entry | undefined): void {
    if (before !== undefined) this.#count(before, -1);
    if (entry !== undefined) this.#count(entry, 1);
    this.#dirty.set(nameOf(shardKey), entry);
    this.#dirtyBytes += 128 + (entry?.kind === 'live' ? entry.blocks.length * 4 : 0);
    this.#changed = true;
  }

  #count(entry: Entry, sign: 1 | -1): void {
    this.#countRecord(entry.position, sign);
    if (entry.kind !== 'live') return;
    this.#shards += sign;
    this.#liveBytes += sign * entry.sizeBytes;
    for (let number = 0; number < entry.blocks.length; number += 1) {
      const position = blockPosition(entry, number);
      if (position !== undefined) this.#countRecord(position, sign);
    }
  }

  #countRecord(position: Position, sign: 1 | -1): void {
    const bytes = (this.#segments.get(position.segment) ?? 0) + sign * position.lengthBytes;
    if (bytes === 0) this.#segments.delete(position.segment);
    else this.#segments.set(position.segment, bytes);
    this.#dirtySegments.add(position.segment);
  }

  #decode(key: Uint8Array, value: Uint8Array): Entry {
    const body = unsealValue(key, value);
    const entry = body === undefined ? undefined : decodeEntry(body);
    if (entry !== undefined) return entry;
    // Without its meta record the next open won't trust it. Should this write fail too, the same entry fails again.
    this.#storage.write([{ key: META_KEY, value: undefined }]).catch(() => undefined);
    throw this.#fail('an entry fails its checksum');
  }

  #fail(reason: string, cause?: unknown): Error {
    this.#failure ??= new IndexDamagedError(reason, cause === undefined ? undefined : { cause });
    return this.#failure;
  }
}

/** Positive: the event is news; negative: it was overtaken; zero: it is what the entry says. */
function compare(event: ShardEvent, entry: Entry): number {
  const order = event.kind === 'close' ? event.close.order : event.order;
  if (order !== entry.order) return order - entry.order;
  if (event.kind === 'close' && entry.kind === 'live' && event.close.revision !== entry.revision) {
    return event.close.revision - entry.revision;
  }
  const { position } = entry;
  return event.position.segment - position.segment || event.position.offset - position.offset;
}

function withGhost(ghosts: readonly number[], segment: number): readonly number[] {
  return ghosts.includes(segment) ? ghosts : [...ghosts, segment].sort((a, b) => a - b);
}

function nameOf(shardKey: Uint8Array): string {
  return Buffer.from(shardKey.buffer, shardKey.byteOffset, SHARD_KEY_BYTES).toString('latin1');
}

/** Latin-1 names compare as their bytes do. */
function byBytes(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function entryKey(shardKey: Uint8Array): Buffer {
  const key = Buffer.allocUnsafe(1 + SHARD_KEY_BYTES);
  key[0] = ENTRY_PREFIX;
  key.set(shardKey, 1);
  return key;
}

function segmentKey(segment: number): Buffer {
  const key = Buffer.from([SEGMENT_PREFIX, 0, 0, 0, 0]);
  key.writeUInt32BE(segment, 1);
  return key;
}

function dropKey(segment: number): Buffer {
  const key = segmentKey(segment);
  key[0] = DROP_PREFIX;
  return key;
}

function batchKey(batch: number): Buffer {
  const key = Buffer.alloc(9, BATCH_PREFIX);
  key.writeBigUInt64BE(BigInt(batch), 1);
  return key;
}

function prefixRange(prefix: number): { from: Buffer; to: Buffer } {
  return { from: Buffer.from([prefix]), to: Buffer.from([prefix + 1]) };
}

/** The least key behind `key`. */
function behind(key: Buffer): Buffer {
  return Buffer.concat([key, Buffer.from([0])]);
}

function numbers(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 8);
  for (const [place, value] of values.entries()) writeUInt64(bytes, value, place * 8);
  return bytes;
}
