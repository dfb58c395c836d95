import { Buffer } from 'node:buffer';
import type {
  ByteRange,
  DeleteOptions,
  PutOptions,
  ShardKey,
  ShardStat,
  ShardStorage,
  StorageUsage,
} from '../wal/shard_storage.ts';
import { TransportError } from './errors.ts';
import { fromRemote } from './shard_errors.ts';
import {
  decodeFound,
  decodeFoundStat,
  decodeStat,
  decodeStats,
  decodeUsage,
  encodeDelete,
  encodeGet,
  encodeKey,
  encodePut,
  encodeScan,
  maxScanLimit,
  shardMethods,
  statBytes,
} from './shard_protocol.ts';
import type { CallRequest, CallResponse, Peer, PeerState } from './transport.ts';

interface ShardClientOptions {
  /** For each call, as `CallOptions.deadlineMs` has it. Default 10 s. */
  readonly deadlineMs?: number;
  /** Gives up whatever is under way. */
  readonly signal?: AbortSignal;
}

/** Bodies up to this size go with the small requests. */
const smallBodyBytes = 64 * 1024;

/**
 * Another node's shard store. The store's own errors (`WalError`) come through with their class and code; what goes
 * wrong on the way is a TransportError.
 */
export class ShardClient implements ShardStorage {
  readonly #peer: Peer;
  readonly #deadlineMs: number;
  readonly #signal: AbortSignal | undefined;

  constructor(peer: Peer, options: ShardClientOptions = {}) {
    this.#peer = peer;
    this.#deadlineMs = options.deadlineMs ?? 10_000;
    this.#signal = options.signal;
  }

  get peer(): Peer {
    return this.#peer;
  }

  get state(): PeerState {
    return this.#peer.state;
  }

  /** The same store with other options; those that aren't given stay. */
  with(options: ShardClientOptions): ShardClient {
    return new ShardClient(this.#peer, {
      deadlineMs: this.#deadlineMs,
      ...(this.#signal === undefined ? {} : { signal: this.#signal }),
      ...options,
    });
  }

  /** Chunks of the body must stay as they are once they are yielded. */
  async put(shard: ShardKey, options: PutOptions, body: AsyncIterable<Uint8Array>): Promise<ShardStat> {
    const header = encodePut(shard, options);
    const source = new PutSource(body);
    const small = await source.readAhead(smallBodyBytes);
    try {
      const response = await this.#call(
        shardMethods.put,
        { header, body: source },
        { shard, lane: small ? 'small' : 'bulk' },
      );
      return decodeStat(response.header);
    } catch (error) {
      source.abandon();
      // What the caller's own body threw is the caller's to see.
      if (source.failure !== undefined) throw source.failure.cause;
      throw error;
    }
  }

  async get(
    shard: ShardKey,
    range?: ByteRange,
  ): Promise<{ readonly stat: ShardStat; readonly body: AsyncIterable<Uint8Array> }> {
    const response = await this.#call(
      shardMethods.get,
      { header: encodeGet(shard, range) },
      { shard, lane: range !== undefined && range.lengthBytes <= smallBodyBytes ? 'small' : 'bulk' },
    );
    return { stat: decodeStat(response.header), body: new TypedBody(response.body, shard) };
  }

  async stat(shard: ShardKey): Promise<ShardStat | undefined> {
    return decodeFoundStat(
      (await this.#call(shardMethods.stat, { header: encodeKey(shard) }, { shard })).header,
    );
  }

  async delete(shard: ShardKey, options: DeleteOptions = {}): Promise<boolean> {
    const header = encodeDelete(shard, options);
    return decodeFound((await this.#call(shardMethods.delete, { header }, { shard })).header);
  }

  /** At most 10,000 at once. */
  async scan(options: {
    readonly startAfter?: ShardKey;
    readonly limit: number;
  }): Promise<readonly ShardStat[]> {
    const limit = Math.min(options.limit, maxScanLimit);
    const response = await this.#call(shardMethods.scan, { header: encodeScan({ ...options, limit }) });
    const parts: Uint8Array[] = [];
    let bytes = 0;
    for await (const part of response.body) {
      bytes += part.length;
      if (bytes > limit * statBytes)
        throw new TransportError('protocol', 'a scan gave more than was asked for');
      parts.push(part);
    }
    return decodeStats(Buffer.concat(parts));
  }

  async usage(): Promise<StorageUsage> {
    return decodeUsage((await this.#call(shardMethods.usage, {})).header);
  }

  /** The time of one round trip in milliseconds. */
  async ping(): Promise<number> {
    const start = performance.now();
    await this.#call(shardMethods.ping, {});
    return performance.now() - start;
  }

  async #call(
    method: string,
    request: CallRequest,
    options: { readonly shard?: ShardKey; readonly lane?: 'small' | 'bulk' } = {},
  ): Promise<CallResponse> {
    try {
      return await this.#peer.call(method, request, {
        deadlineMs: this.#deadlineMs,
        lane: options.lane ?? 'small',
        ...(this.#signal === undefined ? {} : { signal: this.#signal }),
      });
    } catch (error) {
      throw fromRemote(error, options.shard);
    }
  }
}

/** A shard's bytes, of which the first may have been read ahead to see whether there are few. */
class PutSource implements AsyncIterable<Uint8Array>, AsyncIterator<Uint8Array, undefined> {
  readonly #iterator: AsyncIterator<Uint8Array>;
  #ahead: Uint8Array[] = [];
  #ended = false;
  #failure: { readonly cause: unknown } | undefined;

  constructor(body: AsyncIterable<Uint8Array>) {
    this.#iterator = body[Symbol.asyncIterator]();
  }

  get failure(): { readonly cause: unknown } | undefined {
    return this.#failure;
  }

  /** True when the body has at most so many bytes. */
  async readAhead(limitBytes: number): Promise<boolean> {
    let bytes = 0;
    while (bytes <= limitBytes) {
      const step = await this.#iterator.next();
      if (step.done === true) {
        this.#ended = true;
        return true;
      }
      bytes += step.value.length;
      this.#ahead.push(step.value);
    }
    return false;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    const first = this.#ahead.shift();
    if (first !== undefined) return { done: false, value: first };
    if (this.#ended) return { done: true, value: undefined };
    try {
      const step = await this.#iterator.next();
      if (step.done !== true) return { done: false, value: step.value };
      this.#ended = true;
      return { done: true, value: undefined };
    } catch (cause) {
      this.#failure = { cause };
      throw cause;
    }
  }

  /** The call failed, perhaps before it took anything: the source must learn that nobody reads on. */
  abandon(): void {
    // It isn't waited for, and its own failure would only hide the call's.
    this.return().catch(() => undefined);
  }

  async return(): Promise<IteratorResult<Uint8Array, undefined>> {
    this.#ahead = [];
    if (!this.#ended) {
      this.#ended = true;
      await this.#iterator.return?.();
    }
    return { done: true, value: undefined };
  }
}

/** A body whose errors are those of the store again. */
class TypedBody implements AsyncIterable<Uint8Array>, AsyncIterator<Uint8Array, unknown> {
  readonly #iterator: AsyncIterator<Uint8Array>;
  readonly #shard: ShardKey;

  constructor(body: AsyncIterable<Uint8Array>, shard: ShardKey) {
    this.#iterator = body[Symbol.asyncIterator]();
    this.#shard = shard;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<Uint8Array, unknown>> {
    return this.#iterator.next().catch((error: unknown) => {
      throw fromRemote(error, this.#shard);
    });
  }

  async return(): Promise<IteratorResult<Uint8Array, unknown>> {
    await this.#iterator.return?.();
    return { done: true, value: undefined };
  }
}
