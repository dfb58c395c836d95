import { ByteReader, ByteWriter, MalformedBytesError } from '../../wal/byte_codec.ts';
import type { ScanRequest } from '../database.ts';
import { InvalidRequestError, StorageFullError, UnknownOutcomeError } from '../errors.ts';
import type { Outcome } from '../request_memory.ts';
import type { Reply } from './replica_link.ts';

/**
 * Requests and answers on a lane. Several gets, or several batches, go as one request and come back as one answer:
 *
 *     gets:    format 1 | stale | timeout | count | (table | key)...
 *     batches: format 1 | timeout | count | (request id, 16 bytes | encoded batch)...
 *     scan:    format 1 | stale | timeout | flags | table | prefix | start after | delimiter | limit
 *
 *     answer:  format 1 | leader's host:port, empty if not known | count | replies, or a page
 *
 * Numbers, byte strings and texts are those of byte_codec.ts.
 */
const format = 1;

export const laneMethods = { gets: 'db.gets', batches: 'db.batches', scan: 'db.scan' } as const;

/** What fits beside the other fields in the header of a request or answer; what is larger goes as its body. */
export const inlineBytes = 60 * 1024;
export const maxGets = 1024;
export const maxBatches = 1024;

export interface Get {
  readonly table: string;
  readonly key: Uint8Array;
}

export interface EncodedBatch {
  readonly requestId: Uint8Array;
  readonly body: Uint8Array;
}

export function encodeGets(
  gets: readonly Get[],
  read: { readonly stale: boolean; readonly timeoutMs: number },
): Uint8Array {
  const out = new ByteWriter(16 + gets.length * 128);
  out.u8(format);
  out.u8(read.stale ? 1 : 0);
  out.varint(Math.ceil(read.timeoutMs));
  out.varint(gets.length);
  for (const { table, key } of gets) {
    out.text(table);
    out.bytes(key);
  }
  return out.finish();
}

/** Views into `bytes`. @throws MalformedBytesError */
export function decodeGets(bytes: Uint8Array): {
  readonly gets: readonly Get[];
  readonly stale: boolean;
  readonly timeoutMs: number;
} {
  const input = open(bytes);
  const stale = input.u8() === 1;
  const timeoutMs = input.varint();
  const gets: Get[] = [];
  for (let left = countOf(input, maxGets); left > 0; left--) {
    gets.push({ table: input.text(), key: input.bytes() });
  }
  input.end();
  return { gets, stale, timeoutMs };
}

export function encodeBatches(batches: readonly EncodedBatch[], timeoutMs: number): Uint8Array {
  let hint = 16;
  for (const { body } of batches) hint += 24 + body.length;
  const out = new ByteWriter(hint);
  out.u8(format);
  out.varint(Math.ceil(timeoutMs));
  out.varint(batches.length);
  for (const { requestId, body } of batches) {
    out.raw(requestId);
    out.bytes(body);
  }
  return out.finish();
}

/** Views into `bytes`. @throws MalformedBytesError */
export function decodeBatches(bytes: Uint8Array): {
  readonly batches: readonly EncodedBatch[];
  readonly timeoutMs: number;
} {
  const input = open(bytes);
  const timeoutMs = input.varint();
  const batches: EncodedBatch[] = [];
  for (let left = countOf(input, maxBatches); left > 0; left--) {
    batches.push({ requestId: input.raw(16), body: input.bytes() });
  }
  input.end();
  return { batches, timeoutMs };
}

const startAfterFlag = 1;
const delimiterFlag = 2;

export function encodeScan(
  request: ScanRequest,
  read: { readonly stale: boolean; readonly timeoutMs: number },
): Uint8Array {
  const { table, prefix, startAfter, delimiter, limit } = request;
  const out = new ByteWriter(64 + prefix.length);
  out.u8(format);
  out.u8(read.stale ? 1 : 0);
  out.varint(Math.ceil(read.timeoutMs));
  out.u8((startAfter === undefined ? 0 : startAfterFlag) | (delimiter === undefined ? 0 : delimiterFlag));
  out.text(table);
  out.bytes(prefix);
  if (startAfter !== undefined) out.bytes(startAfter);
  if (delimiter !== undefined) out.bytes(delimiter);
  out.varint(limit);
  return out.finish();
}

/** Views into `bytes`. @throws MalformedBytesError */
export function decodeScan(bytes: Uint8Array): {
  readonly request: ScanRequest;
  readonly stale: boolean;
  readonly timeoutMs: number;
} {
  const input = open(bytes);
  const stale = input.u8() === 1;
  const timeoutMs = input.varint();
  const flags = input.u8();
  const request = {
    table: input.text(),
    prefix: input.bytes(),
    ...((flags & startAfterFlag) === 0 ? {} : { startAfter: input.bytes() }),
    ...((flags & delimiterFlag) === 0 ? {} : { delimiter: input.bytes() }),
    limit: input.varint(),
  };
  input.end();
  return { request, stale, timeoutMs };
}

const absent = 0;
const value = 1;
const retryable = 2;
const refused = 3;
const applied = 4;
const conditionFailed = 5;
const expired = 6;
const maybeApplied = 7;
const noSpace = 8;

/** What a replica says to one get or batch: a reply that can travel. */
export type LaneReply = Exclude<Reply, { kind: 'page' }>;

/** @param leader empty when it isn't known. */
export function encodeReplies(leader: string, replies: readonly LaneReply[]): Uint8Array {
  let hint = 32;
  for (const reply of replies) hint += 12 + (reply.kind === 'value' ? (reply.value?.length ?? 0) : 0);
  const out = new ByteWriter(hint);
  out.u8(format);
  out.text(leader);
  out.varint(replies.length);
  for (const reply of replies) writeReply(out, reply);
  return out.finish();
}

/** @throws MalformedBytesError, also when there aren't `count` of them. */
export function decodeReplies(
  bytes: Uint8Array,
  count: number,
): { readonly leader: string; readonly replies: readonly LaneReply[] } {
  const input = open(bytes);
  const leader = input.text();
  if (input.varint() !== count) throw new MalformedBytesError(`not the answer to ${count} calls`);
  const replies: LaneReply[] = [];
  for (let left = count; left > 0; left--) replies.push(readReply(input));
  input.end();
  return { leader, replies };
}

/** @param page encoded; absent when the scan could not be made: then `reply` says why. */
export function encodePageAnswer(leader: string, page: Uint8Array): Uint8Array {
  const out = new ByteWriter(32 + page.length);
  out.u8(format);
  out.text(leader);
  out.u8(value);
  out.raw(page);
  return out.finish();
}

export function encodeNoPage(leader: string, reply: LaneReply): Uint8Array {
  const out = new ByteWriter(128);
  out.u8(format);
  out.text(leader);
  out.u8(absent);
  writeReply(out, reply);
  return out.finish();
}

/** Views into `bytes`. @throws MalformedBytesError */
export function decodePageAnswer(bytes: Uint8Array): {
  readonly leader: string;
  readonly answer: { readonly page: Uint8Array } | { readonly reply: LaneReply };
} {
  const input = open(bytes);
  const leader = input.text();
  if (input.u8() === value) return { leader, answer: { page: input.raw(input.remaining) } };
  const reply = readReply(input);
  input.end();
  return { leader, answer: { reply } };
}

/** What a judged batch is to its maker. */
export function replyTo(outcome: Outcome): LaneReply {
  switch (outcome.kind) {
    case 'applied':
    case 'conditionFailed':
      return outcome;
    case 'expired':
      return { kind: 'refused', error: new UnknownOutcomeError(expiredMessage) };
    case 'fromTheFuture':
      return {
        kind: 'refused',
        error: new InvalidRequestError('the request id was minted by a clock more than an hour ahead'),
      };
    case 'idReused':
      return {
        kind: 'refused',
        error: new InvalidRequestError('the request id belongs to another request'),
      };
  }
}

const expiredMessage = 'the request id is too old to know what became of the write';
const maxMessageBytes = 255;

function writeReply(out: ByteWriter, reply: LaneReply): void {
  switch (reply.kind) {
    case 'value':
      out.u8(reply.value === undefined ? absent : value);
      if (reply.value !== undefined) out.bytes(reply.value);
      return;
    case 'applied':
      out.u8(applied);
      out.varint(reply.index);
      return;
    case 'conditionFailed':
      out.u8(conditionFailed);
      out.varint(reply.condition);
      return;
    case 'refused':
      if (reply.error instanceof UnknownOutcomeError) {
        out.u8(expired);
        return;
      }
      out.u8(reply.error instanceof StorageFullError ? noSpace : refused);
      out.text(reply.error.message.slice(0, maxMessageBytes));
      return;
    case 'retry':
      out.u8(reply.mayBeApplied ? maybeApplied : retryable);
      out.text(reply.reason.slice(0, maxMessageBytes));
      return;
  }
}

function readReply(input: ByteReader): LaneReply {
  const kind = input.u8();
  switch (kind) {
    case absent:
      return { kind: 'value', value: undefined };
    case value:
      // A copy: it may live much longer than the answer to all of the calls.
      return { kind: 'value', value: input.bytes().slice() };
    case applied:
      return { kind: 'applied', index: input.varint() };
    case conditionFailed:
      return { kind: 'conditionFailed', condition: input.varint() };
    case expired:
      return { kind: 'refused', error: new UnknownOutcomeError(expiredMessage) };
    case refused:
      return { kind: 'refused', error: new InvalidRequestError(input.text()) };
    case noSpace:
      return { kind: 'refused', error: new StorageFullError(input.text()) };
    case retryable:
    case maybeApplied:
      return { kind: 'retry', mayBeApplied: kind === maybeApplied, reason: input.text() };
    default:
      throw new MalformedBytesError(`reply ${kind} is not known here`);
  }
}

function open(bytes: Uint8Array): ByteReader {
  const input = new ByteReader(bytes);
  const known = input.u8();
  if (known !== format) throw new MalformedBytesError(`format ${known} is not known here`);
  return input;
}

function countOf(input: ByteReader, most: number): number {
  const count = input.varint();
  if (count > most) throw new MalformedBytesError(`at most ${most} at once, not ${count}`);
  return count;
}
