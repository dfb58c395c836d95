import type { Condition, Operation } from '../s3db/database.ts';

/**
 * Where the object engine keeps content. It knows nothing of keys or versions: what it writes is found by the
 * locator alone, and is never changed in place.
 */
export interface DataStore {
  /**
   * Stores `body` under an id minted for this write. Resolves when the bytes are durable. If `body` throws or the
   * signal aborts, what was stored is removed again and the error passed on.
   */
  write(
    id: ContentId,
    body: AsyncIterable<Uint8Array>,
    options: WriteContentOptions,
  ): Promise<WrittenContent>;
  /**
   * Bytes `range` of the content (default: all), verified before they are yielded, in pieces that are the reader's to
   * keep. Rejects before the first byte where the content can't be had at all.
   * @throws ContentMissingError when no byte of it is left (the caller re-reads the metadata before it counts as loss),
   *   ContentDamagedError when too few good pieces are left, UnavailableError when too few places answer.
   */
  read(locator: Locator, options?: ReadContentOptions): Promise<AsyncIterable<Uint8Array>>;
  /** Forgets the content, at once or by a queue of its own. Removing what is gone is not an error. */
  remove(locator: Locator): Promise<void>;
  close(): Promise<void>;
}

/** 32 bytes: SHA-256 over length-prefixed bucket, key and a unique version id. */
export type ContentId = Uint8Array;

export interface WriteContentOptions {
  /** When it is known beforehand: lets small content take small blocks. */
  readonly sizeBytes?: number;
  /** Chooses how the content is kept, where the store knows several ways; one it doesn't know is kept as usual. */
  readonly storageClass?: string;
  readonly signal?: AbortSignal;
}

export interface WrittenContent {
  readonly locator: Locator;
  readonly sizeBytes: number;
  /** Must go into the same metadata batch as the row that names the locator (epoch guards, repair rows). */
  readonly conditions: readonly Condition[];
  readonly operations: readonly Operation[];
}

export interface ReadContentOptions {
  readonly range?: ContentRange;
  readonly signal?: AbortSignal;
}

/** Bytes `offset` to `offset + lengthBytes - 1`; must lie within the content. */
export interface ContentRange {
  readonly offset: number;
  readonly lengthBytes: number;
}

/**
 * Versioned CBOR that only the store which made it understands; the engine keeps it in the object's row. Small
 * (under a kilobyte), whatever the content's size.
 */
export type Locator = Uint8Array;

/** No piece of the content is where its locator says. */
export class ContentMissingError extends Error {
  override readonly name = 'ContentMissingError';
}

/** Pieces are there, but too few of them are good. */
export class ContentDamagedError extends Error {
  override readonly name = 'ContentDamagedError';
}
