import { TransportError } from '../transport/errors.ts';
import type { Handler, Peer } from '../transport/transport.ts';
import { ByteReader, ByteWriter } from '../wal/byte_codec.ts';
import { LeadershipLostError, NotLeaderError } from './driver_errors.ts';
import { StorageFullError, UnavailableError, UnknownOutcomeError } from './errors.ts';
import { maxBatchBytes } from './level_tables.ts';
import { readToEnd } from './peer_links.ts';
import { ForwardFailedError, type Write } from './replica.ts';
import type { Outcome } from './request_memory.ts';

export const writeMethod = 'db.write';

/** A body up to this travels in the header, without the turns that a stream takes. */
const inlineBytes = 48 * 1024;
/** Encoded: limits count keys and values, and each item has a few bytes more. */
const maxBodyBytes = maxBatchBytes + 4 * 1024 * 1024;
const headBytes = 1 + 6 + 16;
const makesRoomFlag = 1;
const streamedFlag = 2;

/** Sends a write to the leader. @throws NotLeaderError, LeadershipLostError, UnavailableError, UnknownOutcomeError, ForwardFailedError */
export async function forwardWrite(peer: Peer, write: Write, timeoutMs: number): Promise<Outcome> {
  const inline = write.body.length <= inlineBytes;
  const out = new ByteWriter(headBytes + (inline ? write.body.length : 0));
  out.u8((write.makesRoom ? makesRoomFlag : 0) | (inline ? 0 : streamedFlag));
  out.u48(Math.ceil(timeoutMs));
  out.raw(write.requestId);
  if (inline) out.raw(write.body);
  const header = out.finish();
  try {
    const request = inline ? { header } : { header, body: once(write.body) };
    const answer = await peer.call(writeMethod, request, { deadlineMs: timeoutMs });
    await readToEnd(answer);
    return decodeOutcome(answer.header);
  } catch (error) {
    throw error instanceof TransportError ? fromTransport(error) : error;
  }
}

/** @param write takes it as the leader. */
export function writeHandler(write: (write: Write, timeoutMs: number) => Promise<Outcome>): Handler {
  return async (call) => {
    const input = new ByteReader(call.header);
    const flags = input.u8();
    const timeoutMs = input.u48();
    // Copies of their own: the transport's buffers must not live as long as the log keeps the entry.
    const requestId = new Uint8Array(input.raw(16));
    const body = (flags & streamedFlag) === 0 ? input.raw(input.remaining) : await gather(call.body);
    try {
      const makesRoom = (flags & makesRoomFlag) !== 0;
      return { header: encodeOutcome(await write({ body, requestId, makesRoom }, timeoutMs)) };
    } catch (error) {
      throw toTransport(error);
    }
  };
}

const kinds = [
  'applied',
  'conditionFailed',
  'expired',
  'fromTheFuture',
  'idReused',
] as const satisfies readonly Outcome['kind'][];

function encodeOutcome(outcome: Outcome): Uint8Array {
  const out = new ByteWriter(16);
  out.u8(kinds.indexOf(outcome.kind));
  if (outcome.kind === 'applied') out.varint(outcome.index);
  if (outcome.kind === 'conditionFailed') out.varint(outcome.condition);
  return out.finish();
}

function decodeOutcome(header: Uint8Array): Outcome {
  const input = new ByteReader(header);
  const kind = kinds[input.u8()];
  if (kind === undefined) throw new ForwardFailedError('the leader answered with an unknown outcome');
  switch (kind) {
    case 'applied':
      return { kind, index: input.varint() };
    case 'conditionFailed':
      return { kind, condition: input.varint() };
    case 'expired':
    case 'fromTheFuture':
    case 'idReused':
      return { kind };
  }
}

function toTransport(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const isOurs =
    error instanceof NotLeaderError ||
    error instanceof LeadershipLostError ||
    error instanceof UnavailableError ||
    error instanceof UnknownOutcomeError;
  return isOurs ? new TransportError('remote', error.message, { remoteCode: error.name }) : error;
}

function fromTransport(error: TransportError): Error {
  switch (error.remoteCode) {
    case 'NotLeaderError':
      return new NotLeaderError(error.message);
    case 'LeadershipLostError':
      return new LeadershipLostError(error.message);
    case 'StorageFullError':
      return new StorageFullError(error.message);
    case 'UnavailableError':
      return new UnavailableError(error.message);
    case 'UnknownOutcomeError':
      return new UnknownOutcomeError(error.message);
    default:
      return error.code === 'overloaded'
        ? new NotLeaderError(`the leader refuses load: ${error.message}`)
        : new ForwardFailedError(`the leader did not answer: ${error.message}`, { cause: error });
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

async function gather(body: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of body) {
    length += piece.length;
    if (length > maxBodyBytes) throw new TransportError('remote', 'the batch is too large');
    pieces.push(piece);
  }
  const whole = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
