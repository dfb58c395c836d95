import { hash } from 'node:crypto';
import { ByteReader, ByteWriter } from '../wal/byte_codec.ts';
import { asBuffer, bytesEqual } from './key_bytes.ts';
import { openValue, sealValue, type BytesLevel, type LevelOperation } from './level_tables.ts';
import { requestIdTimeMs } from './request_id.ts';

/** For how long, in log time, a write given again under its request id answers as before. */
export const requestWindowMs = 600_000;

/**
 * How a command ended. `expired`: its id is too old to know whether it was applied before. `fromTheFuture`: its id says
 * it was minted so late that it could not be forgotten in time. `idReused`: its id belongs to another command.
 */
export type Outcome =
  | { readonly kind: 'applied'; readonly index: number }
  | { readonly kind: 'conditionFailed'; readonly condition: number }
  | { readonly kind: 'expired' }
  | { readonly kind: 'fromTheFuture' }
  | { readonly kind: 'idReused' };

interface Remembered {
  readonly digest: Uint8Array;
  readonly loggedAtMs: number;
  readonly outcome: Outcome;
}

/**
 * The request ids that a state machine has seen and what it answered, as rows of its Level.
 *
 * Everything goes by log time (the highest timestamp of any entry) and by the time inside the id, so that all replicas
 * judge alike. An id is let in unless it was minted more than a window before log time; it is remembered until log time
 * has passed its minting by two windows, which is at least a window after it was logged. When rows are really removed
 * is up to each replica: an id that could be forgotten is refused whether its row is there or not.
 */
export class RequestMemory {
  readonly #level: BytesLevel;
  readonly #rows = new Map<string, Remembered>();
  readonly #added: LevelOperation[] = [];
  #forgottenUpTo = Buffer.from(rowPrefix);
  #nextForgettingMs = 0;
  readonly #recentLimit: number;
  #recent: RecentRequests | undefined;

  /** @param options.recentLimit ids kept in memory beside the rows. */
  constructor(level: BytesLevel, options: { readonly recentLimit?: number } = {}) {
    this.#level = level;
    this.#recentLimit = options.recentLimit ?? defaultRecentLimit;
  }

  /** Reads what is remembered of the ids that a round is going to ask about, where it isn't in memory. */
  async prefetch(ids: readonly Uint8Array[]): Promise<void> {
    this.#recent ??= new RecentRequests(await this.#newestSecond(), this.#recentLimit);
    const recent = this.#recent;
    const keys = ids.filter((id) => !recent.covers(id)).map(rowKey);
    const stored: (Uint8Array | undefined)[] = keys.length === 0 ? [] : await this.#level.getMany(keys);
    keys.forEach((key, i) => {
      const row = stored[i];
      if (row !== undefined) this.#rows.set(nameOf(key), decodeRow(openValue(key, row)));
    });
  }

  /** The answer to a command given before, or why it can't be let in; undefined: it is new. */
  recall(id: Uint8Array, digest: Uint8Array, logTimeMs: number): Outcome | undefined {
    const mintedMs = requestIdTimeMs(id);
    const known = mintedMs < logTimeMs - 2 * requestWindowMs ? undefined : this.#known(id);
    if (known === undefined) {
      if (mintedMs < logTimeMs - requestWindowMs) return { kind: 'expired' };
      if (mintedMs > logTimeMs + maxAheadMs) return { kind: 'fromTheFuture' };
      return undefined;
    }
    if (known.loggedAtMs < logTimeMs - requestWindowMs) return { kind: 'expired' };
    return bytesEqual(known.digest, digest) ? known.outcome : { kind: 'idReused' };
  }

  remember(
    id: Uint8Array,
    digest: Uint8Array,
    at: { readonly logTimeMs: number; readonly outcome: Outcome },
  ): void {
    const key = rowKey(id);
    const row = { digest, loggedAtMs: at.logTimeMs, outcome: at.outcome };
    this.#rows.set(nameOf(key), row);
    this.#recent?.add(id, row);
    this.#added.push({ type: 'put', key, value: sealValue(key, encodeRow(row)) });
  }

  /** Ends the round: the changes to write together with its effects, and by how many rows they grow the memory. */
  async endRound(
    logTimeMs: number,
  ): Promise<{ readonly operations: LevelOperation[]; readonly growth: number }> {
    const added = this.#added.splice(0);
    this.#rows.clear();
    const forgotten = await this.#forgettable(logTimeMs, 1024 + 4 * added.length);
    for (const key of forgotten) added.push({ type: 'del', key });
    return { operations: added, growth: added.length - 2 * forgotten.length };
  }

  #known(id: Uint8Array): Remembered | undefined {
    return this.#recent?.get(id) ?? this.#rows.get(nameOf(rowKey(id)));
  }

  /** Of all ids that have a row; -1 without any. */
  async #newestSecond(): Promise<number> {
    const [last] = await this.#level.keys({ gte: rowPrefix, lt: rowsEnd, reverse: true, limit: 1 }).all();
    return last === undefined ? -1 : secondOf(last.subarray(rowPrefix.length));
  }

  async #forgettable(logTimeMs: number, limit: number): Promise<Uint8Array[]> {
    if (logTimeMs < this.#nextForgettingMs) return [];
    const end = timeKey(Math.max(0, logTimeMs - 2 * requestWindowMs));
    // Starts behind what was removed before, so as not to walk over LevelDB's tombstones.
    const keys = await this.#level.keys({ gte: this.#forgottenUpTo, lt: end, limit }).all();
    const last = keys.at(-1);
    if (keys.length < limit) {
      this.#forgottenUpTo = Buffer.from(end);
      this.#nextForgettingMs = logTimeMs + forgettingPauseMs;
    } else if (last !== undefined) {
      this.#forgottenUpTo = Buffer.from(last);
    }
    return keys;
  }
}

/**
 * Every remembered request whose id was minted in or after some second: whether one of these was seen before can be told
 * without asking Level. Nearly all ids are of the last moment, so this spares a read for each write.
 */
class RecentRequests {
  readonly #bySecond = new Map<number, Map<string, Remembered>>();
  readonly #limit: number;
  #from: number;
  #count = 0;

  /** @param newestSecond the newest of any id that was remembered before this began. */
  constructor(newestSecond: number, limit: number) {
    this.#from = newestSecond + 1;
    this.#limit = limit;
  }

  covers(id: Uint8Array): boolean {
    return secondOf(id) >= this.#from;
  }

  get(id: Uint8Array): Remembered | undefined {
    return this.#bySecond.get(secondOf(id))?.get(nameOf(id));
  }

  add(id: Uint8Array, row: Remembered): void {
    if (!this.covers(id)) return;
    const second = secondOf(id);
    const those = this.#bySecond.get(second) ?? new Map<string, Remembered>();
    this.#bySecond.set(second, those);
    those.set(nameOf(id), row);
    this.#count++;
    while (this.#count > this.#limit) this.#dropOldest();
  }

  #dropOldest(): void {
    const oldest = Math.min(...this.#bySecond.keys());
    this.#count -= this.#bySecond.get(oldest)?.size ?? 0;
    this.#bySecond.delete(oldest);
    this.#from = oldest + 1;
  }
}

function secondOf(id: Uint8Array): number {
  return Math.floor(requestIdTimeMs(id) / 1000);
}

/** What makes two commands with one id the same: SHA-256 of the encoded batch, cut to 128 bits. */
export function requestDigest(body: Uint8Array): Uint8Array {
  return hash('sha256', body, 'buffer').subarray(0, 16);
}

/** Whether a row belongs to the state that all replicas share at this log time. */
export function isSharedRequestRow(levelKey: Uint8Array, logTimeMs: number): boolean {
  return Buffer.compare(levelKey, timeKey(Math.max(0, logTimeMs - 2 * requestWindowMs))) >= 0;
}

export function isRequestRow(levelKey: Uint8Array): boolean {
  return levelKey[0] === rowPrefix[0] && levelKey[1] === rowPrefix[1];
}

const rowPrefix = Uint8Array.of(0, 0x72);
const rowsEnd = Uint8Array.of(0, 0x73);
const defaultRecentLimit = 30_000;
/** Beyond what SigV4 lets a client's clock be ahead, short enough that rows go. */
const maxAheadMs = 3_600_000;
const forgettingPauseMs = 1000;

function rowKey(id: Uint8Array): Uint8Array {
  const key = new Uint8Array(rowPrefix.length + id.length);
  key.set(rowPrefix);
  key.set(id, rowPrefix.length);
  return key;
}

/** Before every row whose id was minted at or after `timeMs`: a UUIDv7 starts with its time. */
function timeKey(timeMs: number): Uint8Array {
  const out = new ByteWriter();
  out.raw(rowPrefix);
  out.u48(timeMs);
  return out.finish();
}

function encodeRow(row: Remembered): Uint8Array {
  const out = new ByteWriter(40);
  out.raw(row.digest);
  out.u48(row.loggedAtMs);
  switch (row.outcome.kind) {
    case 'applied':
      out.u8(0);
      out.varint(row.outcome.index);
      break;
    case 'conditionFailed':
      out.u8(1);
      out.varint(row.outcome.condition);
      break;
    case 'expired':
    case 'fromTheFuture':
    case 'idReused':
      throw new Error(`a command refused as ${row.outcome.kind} is not remembered`);
  }
  return out.finish();
}

function decodeRow(value: Uint8Array): Remembered {
  const input = new ByteReader(value);
  const digest = input.raw(16);
  const loggedAtMs = input.u48();
  const outcome: Outcome =
    input.u8() === 0
      ? { kind: 'applied', index: input.varint() }
      : { kind: 'conditionFailed', condition: input.varint() };
  return { digest, loggedAtMs, outcome };
}

function nameOf(key: Uint8Array): string {
  return asBuffer(key).toString('latin1');
}
