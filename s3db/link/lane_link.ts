import { TransportError } from '../../transport/errors.ts';
import type { CallResponse, Peer } from '../../transport/transport.ts';
import { decodePage } from '../rest/binary_page.ts';
import { Bundler } from './bundler.ts';
import {
  decodePageAnswer,
  decodeReplies,
  encodeBatches,
  encodeGets,
  encodeScan,
  inlineBytes,
  laneMethods,
  maxBatches,
  maxGets,
  type LaneReply,
} from './lane_codec.ts';
import { NotSentError, type Answer, type DatabaseCall, type ReplicaLink } from './replica_link.ts';

type Get = Extract<DatabaseCall, { kind: 'get' }>;
type Batch = Extract<DatabaseCall, { kind: 'batch' }>;

/** More would be answered late anyway. */
const maxWaiting = 16_384;
const maxGetsInFlight = 4;
const maxBatchesInFlight = 4;
/** The replica's own deadline comes first, so that its answer says more than silence. */
const marginMs = 50;
const maxAnswerBytes = 64 * 1024 * 1024;
const itemBytes = 96;

/** A call on its way. */
interface Waiting<Call> {
  readonly call: Call;
  readonly timeoutMs: number;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
  settled: boolean;
  sent: boolean;
}

/** A replica over the transport: calls made at the same time travel as one, and come back as one. */
export class LaneLink implements ReplicaLink {
  readonly name: string;
  readonly #peer: Peer;
  readonly #gets: Bundler<Waiting<Get>>;
  readonly #staleGets: Bundler<Waiting<Get>>;
  readonly #batches: Bundler<Waiting<Batch>>;

  /** @param name `host:port` of the replica's REST listener. Closing the link closes the peer. */
  constructor(name: string, peer: Peer) {
    this.name = name;
    this.#peer = peer;
    this.#gets = this.#getBundler(false);
    this.#staleGets = this.#getBundler(true);
    this.#batches = new Bundler({
      maxInFlight: maxBatchesInFlight,
      maxItems: maxBatches,
      maxBytes: inlineBytes,
      sizeOf: ({ call }) => call.body.length + itemBytes,
      isWanted: ({ settled }) => !settled,
      send: async (items) =>
        this.#exchange(laneMethods.batches, items, (timeoutMs) =>
          encodeBatches(
            items.map(({ call }) => call),
            timeoutMs,
          ),
        ),
    });
  }

  async send(
    call: DatabaseCall,
    options: { readonly timeoutMs: number; readonly signal: AbortSignal },
  ): Promise<Answer> {
    // A call would wait for a connection; whoever asks has other replicas to go to.
    if (this.#peer.state === 'down') throw new NotSentError(`${this.name}: not connected`);
    switch (call.kind) {
      case 'get':
        return this.#add(call.stale ? this.#staleGets : this.#gets, call, options);
      case 'batch':
        return this.#add(this.#batches, call, options);
      case 'scan':
        return this.#scan(call, options);
    }
  }

  async close(): Promise<void> {
    for (const bundler of [this.#gets, this.#staleGets, this.#batches]) {
      for (const item of bundler.clear()) item.reject(new NotSentError('the link is closed'));
    }
    await this.#peer.close();
  }

  #getBundler(stale: boolean): Bundler<Waiting<Get>> {
    return new Bundler({
      maxInFlight: maxGetsInFlight,
      maxItems: maxGets,
      maxBytes: inlineBytes,
      sizeOf: ({ call }) => call.key.length + itemBytes,
      isWanted: ({ settled }) => !settled,
      send: async (items) =>
        this.#exchange(laneMethods.gets, items, (timeoutMs) =>
          encodeGets(
            items.map(({ call }) => call),
            { stale, timeoutMs },
          ),
        ),
    });
  }

  #add<Call>(
    bundler: Bundler<Waiting<Call>>,
    call: Call,
    options: { readonly timeoutMs: number; readonly signal: AbortSignal },
  ): Promise<Answer> {
    if (bundler.waiting >= maxWaiting) {
      return Promise.reject(new NotSentError(`${this.name}: ${maxWaiting} calls wait already`));
    }
    const { signal, timeoutMs } = options;
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        if (item.settled) return;
        item.settled = true;
        const text = `${this.name}: given up`;
        reject(item.sent ? new Error(text, { cause: signal.reason }) : new NotSentError(text));
      };
      const item: Waiting<Call> = {
        call,
        timeoutMs,
        settled: false,
        sent: false,
        resolve: (answer) => {
          if (item.settled) return;
          item.settled = true;
          signal.removeEventListener('abort', onAbort);
          resolve(answer);
        },
        reject: (error) => {
          if (item.settled) return;
          item.settled = true;
          signal.removeEventListener('abort', onAbort);
          reject(error);
        },
      };
      signal.addEventListener('abort', onAbort);
      bundler.add(item);
    });
  }

  async #exchange<Call>(
    method: string,
    items: readonly Waiting<Call>[],
    encode: (timeoutMs: number) => Uint8Array,
  ): Promise<void> {
    try {
      let timeoutMs = 1;
      for (const item of items) {
        item.sent = true;
        timeoutMs = Math.max(timeoutMs, item.timeoutMs);
      }
      const bytes = await this.#call(method, encode(timeoutMs), { timeoutMs });
      const { leader, replies } = decodeReplies(bytes, items.length);
      for (const [i, item] of items.entries()) {
        const reply = replies[i];
        if (reply !== undefined) item.resolve(answerOf(leader, reply));
      }
    } catch (error) {
      const failure = this.#failureOf(error);
      for (const item of items) item.reject(failure);
    }
  }

  async #scan(
    call: Extract<DatabaseCall, { kind: 'scan' }>,
    options: { readonly timeoutMs: number; readonly signal: AbortSignal },
  ): Promise<Answer> {
    const { timeoutMs } = options;
    const request = encodeScan(call.request, { stale: call.stale, timeoutMs });
    try {
      const { leader, answer } = decodePageAnswer(await this.#call(laneMethods.scan, request, options));
      if ('reply' in answer) return answerOf(leader, answer.reply);
      return { reply: { kind: 'page', page: decodePage(answer.page) }, leader };
    } catch (error) {
      throw this.#failureOf(error);
    }
  }

  async #call(
    method: string,
    request: Uint8Array,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<Uint8Array> {
    const { timeoutMs, signal } = options;
    const response = await this.#peer.call(
      method,
      request.length <= inlineBytes ? { header: request } : { body: once(request) },
      { deadlineMs: timeoutMs + marginMs, ...(signal === undefined ? {} : { signal }) },
    );
    return response.header.length > 0 ? response.header : gather(response);
  }

  #failureOf(error: unknown): Error {
    if (!(error instanceof Error)) return new Error(String(error));
    // Of all codes only this one says that the handler didn't run.
    if (error instanceof TransportError && error.code === 'overloaded') {
      return new NotSentError(`${this.name}: ${error.message}`, { cause: error });
    }
    return error;
  }
}

function answerOf(leader: string, reply: LaneReply): Answer {
  return { reply, leader: leader === '' ? undefined : leader };
}

async function gather(response: CallResponse): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of response.body) {
    length += piece.length;
    if (length > maxAnswerBytes) throw new TransportError('protocol', 'the answer is too large');
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
