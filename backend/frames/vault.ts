import { Compressor } from '../compression/compressor.ts';
import {
  ContentDamagedError,
  type ContentId,
  type ContentRange,
  type DataStore,
  type Locator,
  type WriteContentOptions,
  type WrittenContent,
} from '../data_store.ts';
import { KeyNotFoundError, SealDamagedError } from '../encryption/errors.ts';
import { FrameCipher } from '../encryption/frame_cipher.ts';
import type { Keyring, RingKey } from '../encryption/keyring.ts';
import { keyBytes, unwrapDataKey, wrapDataKey } from '../encryption/wrapping.ts';
import { readFrames } from './frame_reader.ts';
import { FrameWriter } from './frame_writer.ts';
import { defaultFrameBytes, sealedBytes } from './geometry.ts';
import type { SealedRow, WrappedKey } from './sealed_row.ts';

const wrapNonceBytes = 12;

/** What the data key of new content is wrapped under. */
export type WrapUnder =
  | {
      readonly key: RingKey;
      /** Canonical bytes of a KMS encryption context; absent: wrapped anew under whatever key is active. */
      readonly context?: Uint8Array;
    }
  | { readonly customerKey: Uint8Array };

export interface VaultWriteOptions extends WriteContentOptions {
  /** Absent: not encrypted. */
  readonly under?: WrapUnder | undefined;
  /** zstd's level; absent: not compressed. */
  readonly compressionLevel?: number | undefined;
}

/** Written content, and how it was stored if not as it came. */
export interface VaultWritten extends WrittenContent {
  /** Of the content, not of what is stored. */
  readonly sizeBytes: number;
  readonly sealed?: SealedRow;
}

export interface StoredContent {
  readonly contentId: ContentId;
  readonly sizeBytes: number;
  readonly locator: Locator;
  readonly sealed?: SealedRow | undefined;
}

interface VaultOptions {
  readonly data: DataStore;
  /** Of this moment; undefined where no keys are configured. */
  readonly ring: () => Keyring | undefined;
  readonly randomBytes: (length: number) => Uint8Array;
  readonly frameBytes?: number;
}

/** A data store in whose place content is compressed and encrypted on its way in, and undone and verified on its way out. */
export class Vault {
  readonly #options: VaultOptions;
  readonly #frameBytes: number;

  constructor(options: VaultOptions) {
    this.#options = options;
    this.#frameBytes = options.frameBytes ?? defaultFrameBytes;
  }

  async write(
    id: ContentId,
    body: AsyncIterable<Uint8Array>,
    options: VaultWriteOptions,
  ): Promise<VaultWritten> {
    const { under, compressionLevel, sizeBytes, ...passed } = options;
    const { data } = this.#options;
    if (under === undefined && compressionLevel === undefined) {
      return data.write(id, body, { ...passed, ...(sizeBytes === undefined ? {} : { sizeBytes }) });
    }
    const sealer = under === undefined ? undefined : this.#newKey(id, under);
    const writer = new FrameWriter({
      frameBytes: this.#frameBytes,
      cipher: sealer?.cipher,
      compressor: compressionLevel === undefined ? undefined : new Compressor(compressionLevel),
      sizeBytes,
    });
    const source = await this.#toStore(writer.pass(body), options);
    const written = await data.write(id, source.stream, {
      ...passed,
      ...(source.sizeBytes === undefined ? {} : { sizeBytes: source.sizeBytes }),
    });
    const { row } = writer;
    if (written.sizeBytes !== row.storedBytes) {
      throw new Error(`the data store kept ${written.sizeBytes} of ${row.storedBytes} bytes`);
    }
    const content = { ...written, sizeBytes: writer.contentBytes };
    if (sealer === undefined && row.table === undefined) return content;
    return { ...content, sealed: sealer === undefined ? row : { ...row, key: sealer.key } };
  }

  /**
   * @param options.customerKey the client's key, where the content is under one; it has been checked.
   * @throws KeyNotFoundError when the content's key isn't in the keyring, and what a data store's `read` throws.
   */
  async read(
    content: StoredContent,
    options: {
      readonly range: ContentRange;
      readonly customerKey?: Uint8Array | undefined;
      readonly signal?: AbortSignal | undefined;
    },
  ): Promise<AsyncIterable<Uint8Array>> {
    const { data } = this.#options;
    const { sealed, locator } = content;
    const { range, signal } = options;
    const passed = signal === undefined ? {} : { signal };
    if (sealed === undefined) return data.read(locator, { range, ...passed });
    const { key } = sealed;
    const cipher =
      key === undefined
        ? undefined
        : new FrameCipher(this.#unwrap(content.contentId, key, options.customerKey), content.contentId);
    return readFrames(
      {
        sizeBytes: content.sizeBytes,
        row: sealed,
        cipher,
        read: (stored) => data.read(locator, { range: stored, ...passed }),
      },
      range,
    );
  }

  /**
   * The data key wrapped under what wraps today, or undefined where it is already (or is under a client's key).
   * @throws KeyNotFoundError, ContentDamagedError
   */
  rewrap(contentId: ContentId, key: WrappedKey): WrappedKey | undefined {
    const ring = this.#options.ring();
    const { under } = key;
    if (under === undefined || ring === undefined) return undefined;
    const target = under.context === undefined ? ring.active : ring.current(under.id);
    if (target === undefined) return undefined;
    if (target.id === under.id && Buffer.compare(target.fingerprint, under.fingerprint) === 0)
      return undefined;
    const dataKey = this.#unwrap(contentId, key, undefined);
    return this.#wrap(contentId, dataKey, {
      key: target,
      ...(under.context === undefined ? {} : { context: under.context }),
    });
  }

  #newKey(
    contentId: ContentId,
    under: WrapUnder,
  ): { readonly cipher: FrameCipher; readonly key: WrappedKey } {
    const dataKey = this.#options.randomBytes(keyBytes);
    return { cipher: new FrameCipher(dataKey, contentId), key: this.#wrap(contentId, dataKey, under) };
  }

  #wrap(contentId: ContentId, dataKey: Uint8Array, under: WrapUnder): WrappedKey {
    const nonce = this.#options.randomBytes(wrapNonceBytes);
    if ('customerKey' in under) {
      const purpose = { contentId, context: new Uint8Array(0) };
      return { wrapped: wrapDataKey(dataKey, { under: under.customerKey, purpose, nonce }) };
    }
    const { key, context } = under;
    const purpose = { contentId, context: context ?? new Uint8Array(0) };
    return {
      wrapped: wrapDataKey(dataKey, { under: key.material, purpose, nonce }),
      under: { id: key.id, fingerprint: key.fingerprint, ...(context === undefined ? {} : { context }) },
    };
  }

  #unwrap(contentId: ContentId, key: WrappedKey, customerKey: Uint8Array | undefined): Uint8Array {
    const { under } = key;
    const wrapping = under === undefined ? customerKey : this.#find(under);
    if (wrapping === undefined) throw new Error("content under a client's key was read without that key");
    const purpose = { contentId, context: under?.context ?? new Uint8Array(0) };
    try {
      return unwrapDataKey(key.wrapped, { under: wrapping, purpose });
    } catch (error) {
      if (error instanceof SealDamagedError) throw new ContentDamagedError(error.message, { cause: error });
      throw error;
    }
  }

  #find(name: NonNullable<WrappedKey['under']>): Uint8Array {
    const ring = this.#options.ring();
    if (ring === undefined)
      throw new KeyNotFoundError(`no keys are configured, and content needs '${name.id}'`);
    return ring.find(name).material;
  }

  /**
   * Content that may shrink and fits into one frame is taken in before the data store is asked: so that the store
   * knows its size, and gives it the room that it needs.
   */
  async #toStore(
    stored: AsyncIterable<Uint8Array>,
    options: VaultWriteOptions,
  ): Promise<{ readonly stream: AsyncIterable<Uint8Array>; readonly sizeBytes?: number }> {
    const { sizeBytes, compressionLevel } = options;
    if (sizeBytes === undefined) return { stream: stored };
    if (compressionLevel === undefined)
      return { stream: stored, sizeBytes: sealedBytes(sizeBytes, this.#frameBytes) };
    if (sizeBytes > this.#frameBytes) return { stream: stored };
    const pieces: Uint8Array[] = [];
    for await (const piece of stored) pieces.push(piece);
    return {
      stream: piecesOf(pieces),
      sizeBytes: pieces.reduce((sum, piece) => sum + piece.length, 0),
    };
  }
}

async function* piecesOf(pieces: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* pieces;
}
