import { TransportError } from '../../transport/errors.ts';
import type { Handler, Handlers, IncomingCall } from '../../transport/transport.ts';
import { MalformedBytesError } from '../../wal/byte_codec.ts';
import { decodeBatch, UnknownCommandError } from '../command.ts';
import type { Batch } from '../database.ts';
import { ReplicaFailedError } from '../driver_errors.ts';
import { InvalidRequestError, StorageFullError, UnavailableError, UnknownOutcomeError } from '../errors.ts';
import { maxBatchBytes, validateBatch, ValueDamagedError } from '../level_tables.ts';
import type { Outcome } from '../request_memory.ts';
import { checkWritable } from '../reserved_tables.ts';
import { encodePage } from '../rest/binary_page.ts';
import type { DatabaseService, ReadRequest } from '../rest/service.ts';
import {
  decodeBatches,
  decodeGets,
  decodeScan,
  encodeNoPage,
  encodePageAnswer,
  encodeReplies,
  inlineBytes,
  laneMethods,
  replyTo,
  type EncodedBatch,
  type Get,
  type LaneReply,
} from './lane_codec.ts';

const maxTimeoutMs = 30_000;
/** Limits of a batch count keys and values; each item has a few bytes more. */
const maxBodyBytes = maxBatchBytes + 4 * 1024 * 1024;
/** Of values in one answer; gets beyond it are to be asked for again. */
const maxAnswerBytes = 8 * 1024 * 1024;
const getsAtOnce = 128;

/** What the lanes need of a replica. */
export interface LaneService extends Pick<DatabaseService, 'scan' | 'leaderAddress'> {
  /** The values in the order of the keys, all read after one read index. @throws as `get` does. */
  getMany(gets: readonly Get[], read: ReadRequest): Promise<readonly (Uint8Array | undefined)[]>;
  /** As `write`; `body` is the batch as `encodeBatch` has it. */
  writeEncoded(
    batch: Batch,
    request: { readonly body: Uint8Array; readonly requestId: Uint8Array; readonly timeoutMs: number },
  ): Promise<Outcome>;
}

/**
 * The database for gateways, over the transport: who has proved to belong to the cluster reads and writes as the key pair
 * of the REST service may. Gets that come together share one read index, batches one proposal.
 */
export function laneHandlers(service: LaneService): Handlers {
  const leader = (): string => service.leaderAddress() ?? '';
  return {
    calls: {
      [laneMethods.gets]: answering(async (request) => {
        const { gets, stale, timeoutMs } = decodeGets(request);
        return encodeReplies(
          leader(),
          await readAll(service, { gets, stale, timeoutMs: bounded(timeoutMs) }),
        );
      }),
      [laneMethods.batches]: answering(async (request) => {
        const { batches, timeoutMs } = decodeBatches(request);
        const write = (batch: EncodedBatch): Promise<LaneReply> =>
          writeOne(service, batch, bounded(timeoutMs));
        const replies = await Promise.all(batches.map(write));
        return encodeReplies(leader(), replies);
      }),
      [laneMethods.scan]: answering(async (request) => {
        const { request: scan, stale, timeoutMs } = decodeScan(request);
        try {
          const page = await service.scan(scan, { stale, timeoutMs: bounded(timeoutMs) });
          return encodePageAnswer(leader(), encodePage(page));
        } catch (error) {
          return encodeNoPage(leader(), toReply(error));
        }
      }),
    },
  };
}

async function readAll(
  service: LaneService,
  { gets, ...read }: ReturnType<typeof decodeGets>,
): Promise<readonly LaneReply[]> {
  const replies: LaneReply[] = [];
  let bytes = 0;
  try {
    while (replies.length < gets.length && bytes <= maxAnswerBytes) {
      const some = gets.slice(replies.length, replies.length + getsAtOnce);
      for (const value of await service.getMany(some, read)) {
        bytes += value?.length ?? 0;
        replies.push({ kind: 'value', value });
      }
    }
  } catch (error) {
    const reply = toReply(error);
    return gets.map(() => reply);
  }
  const rest: LaneReply = {
    kind: 'retry',
    mayBeApplied: false,
    reason: 'the values are too large for one answer',
  };
  return [...replies, ...gets.slice(replies.length).map(() => rest)];
}

async function writeOne(
  service: LaneService,
  { requestId, body }: EncodedBatch,
  timeoutMs: number,
): Promise<LaneReply> {
  try {
    const batch = decodeBatch(body);
    validateBatch(batch);
    checkWritable(batch);
    return replyTo(await service.writeEncoded(batch, { body, requestId, timeoutMs }));
  } catch (error) {
    return toReply(error);
  }
}

/** @throws what only a bug can throw. */
function toReply(error: unknown): LaneReply {
  if (error instanceof InvalidRequestError || error instanceof StorageFullError) {
    return { kind: 'refused', error };
  }
  if (error instanceof MalformedBytesError || error instanceof UnknownCommandError) {
    return { kind: 'refused', error: new InvalidRequestError(`not a batch: ${error.message}`) };
  }
  if (error instanceof UnavailableError || error instanceof ReplicaFailedError) {
    return { kind: 'retry', mayBeApplied: false, reason: error.message };
  }
  if (error instanceof UnknownOutcomeError || error instanceof ValueDamagedError) {
    return { kind: 'retry', mayBeApplied: true, reason: error.message };
  }
  throw error;
}

function bounded(timeoutMs: number): number {
  return Math.min(Math.max(1, timeoutMs), maxTimeoutMs);
}

/** Requests and answers lie in the header where they fit: a body takes turns of its own. */
function answering(answer: (request: Uint8Array) => Promise<Uint8Array>): Handler {
  return async (call) => {
    const request = call.header.length > 0 ? call.header : await gather(call);
    let bytes: Uint8Array;
    try {
      bytes = await answer(request);
    } catch (error) {
      if (!(error instanceof MalformedBytesError)) throw error;
      throw new TransportError('remote', error.message, { remoteCode: 'InvalidRequest' });
    }
    return bytes.length <= inlineBytes ? { header: bytes } : { body: once(bytes) };
  };
}

async function gather(call: IncomingCall): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of call.body) {
    length += piece.length;
    if (length > maxBodyBytes) throw new MalformedBytesError('the batch is too large');
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
