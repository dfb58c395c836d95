import { RaftDecodeError, decodeConfiguration, encodeConfiguration } from './configuration_codec.ts';
import { invariant } from './invariant.ts';
import { MAX_APPEND_ENTRIES } from './leader.ts';
import type { Entry, Message } from './types.ts';

/*
 * Version 1, all integers big-endian:
 *
 *   0   1  version
 *   1   1  type: position in `types`
 *   2   8  from
 *   10  8  to
 *   18  8  term
 *   26     body
 *
 *   preVote, vote           lastIndex 8, lastTerm 8, transfer 1
 *   preVoteReply, voteReply granted 1
 *   append                  prevIndex 8, prevTerm 8, commit 8, count 4, then count times (term 8, type 1, length 4),
 *                           then the data of all entries, one after the other
 *   appendReply             accepted 1, index 8, hintIndex 8, hintTerm 8
 *   heartbeat               commit 8, nonce 8
 *   heartbeatReply          nonce 8
 *   snapshot                index 8, term 8, then an encoded configuration
 *   readIndex               requestId 8
 *   readIndexReply          requestId 8, index 8, ok 1
 *   timeoutNow              nothing
 */
const VERSION = 1;
const HEAD_BYTES = 26;
const APPEND_BYTES = 28;
const ENTRY_BYTES = 13;
/** An append with one entry of the greatest size (a batch of 8 MiB, encoded), with room to spare. */
const MAX_MESSAGE_BYTES = 32 * 1024 * 1024;

const types: readonly Message['type'][] = [
  'preVote',
  'vote',
  'preVoteReply',
  'voteReply',
  'append',
  'appendReply',
  'heartbeat',
  'heartbeatReply',
  'snapshot',
  'readIndex',
  'readIndexReply',
  'timeoutNow',
];
const entryTypes: readonly Entry['type'][] = ['noop', 'config', 'command'];

/**
 * The bytes of a message, in pieces that are to be sent one after the other: the data of entries is not copied, so the pieces are
 * not to be written to. Deterministic.
 */
export function encodeMessage(message: Message): readonly Uint8Array[] {
  const writer = new Writer(HEAD_BYTES + bodyBytes(message));
  writer.byte(VERSION);
  writer.byte(types.indexOf(message.type));
  writer.id(message.from);
  writer.id(message.to);
  writer.number(message.term);
  switch (message.type) {
    case 'preVote':
    case 'vote':
      writer.number(message.lastIndex);
      writer.number(message.lastTerm);
      writer.flag(message.transfer);
      break;
    case 'preVoteReply':
    case 'voteReply':
      writer.flag(message.granted);
      break;
    case 'append':
      return encodeAppend(message, writer);
    case 'appendReply':
      writer.flag(message.accepted);
      writer.number(message.index);
      writer.number(message.hintIndex);
      writer.number(message.hintTerm);
      break;
    case 'heartbeat':
      writer.number(message.commit);
      writer.number(message.nonce);
      break;
    case 'heartbeatReply':
      writer.number(message.nonce);
      break;
    case 'snapshot':
      writer.number(message.meta.index);
      writer.number(message.meta.term);
      return [writer.bytes, encodeConfiguration(message.meta.configuration)];
    case 'readIndex':
      writer.number(message.requestId);
      break;
    case 'readIndexReply':
      writer.number(message.requestId);
      writer.number(message.index);
      writer.flag(message.ok);
      break;
    case 'timeoutNow':
      break;
  }
  return [writer.bytes];
}

function encodeAppend(message: Extract<Message, { type: 'append' }>, writer: Writer): readonly Uint8Array[] {
  const { prevIndex, entries } = message;
  invariant(entries.length <= MAX_APPEND_ENTRIES, 'an append has a bounded number of entries');
  writer.number(prevIndex);
  writer.number(message.prevTerm);
  writer.number(message.commit);
  writer.uint32(entries.length);
  const pieces = [writer.bytes];
  for (const [i, entry] of entries.entries()) {
    invariant(entry.index === prevIndex + 1 + i, 'entries of an append are contiguous');
    writer.number(entry.term);
    writer.byte(entryTypes.indexOf(entry.type));
    writer.uint32(entry.data.length);
    if (entry.data.length > 0) pieces.push(entry.data);
  }
  return pieces;
}

function bodyBytes(message: Message): number {
  switch (message.type) {
    case 'preVote':
    case 'vote':
    case 'readIndexReply':
      return 17;
    case 'preVoteReply':
    case 'voteReply':
      return 1;
    case 'append':
      return APPEND_BYTES + ENTRY_BYTES * message.entries.length;
    case 'appendReply':
      return 25;
    case 'heartbeat':
    case 'snapshot':
      return 16;
    case 'heartbeatReply':
    case 'readIndex':
      return 8;
    case 'timeoutNow':
      return 0;
  }
}

/**
 * The message in `bytes`. The data of its entries are views of `bytes`, which must not be written to afterwards.
 * @throws RaftDecodeError unless `bytes` are exactly one message of version 1 that a correct replica could have sent.
 */
export function decodeMessage(bytes: Uint8Array): Message {
  if (bytes.length > MAX_MESSAGE_BYTES)
    throw new RaftDecodeError(`a message of more than ${MAX_MESSAGE_BYTES} bytes`);
  const reader = new Reader(bytes);
  if (reader.byte() !== VERSION) throw new RaftDecodeError('a message of an unknown version');
  const type = types[reader.byte()];
  if (type === undefined) throw new RaftDecodeError('a message of an unknown type');
  const head = { from: reader.id(), to: reader.id(), term: reader.number() };
  const message = decodeBody(type, head, reader);
  if (reader.left !== 0) throw new RaftDecodeError('bytes behind the end of a message');
  return message;
}

type Head = Pick<Message, 'from' | 'to' | 'term'>;

function decodeBody(type: Message['type'], head: Head, reader: Reader): Message {
  switch (type) {
    case 'preVote':
    case 'vote':
      return {
        ...head,
        type,
        lastIndex: reader.number(),
        lastTerm: reader.number(),
        transfer: reader.flag(),
      };
    case 'preVoteReply':
    case 'voteReply':
      return { ...head, type, granted: reader.flag() };
    case 'append':
      return decodeAppend(head, reader);
    case 'appendReply': {
      const accepted = reader.flag();
      return {
        ...head,
        type,
        accepted,
        index: reader.number(),
        hintIndex: reader.number(),
        hintTerm: reader.number(),
      };
    }
    case 'heartbeat':
      return { ...head, type, commit: reader.number(), nonce: reader.number() };
    case 'heartbeatReply':
      return { ...head, type, nonce: reader.number() };
    case 'snapshot': {
      const index = reader.number();
      const term = reader.number();
      if (term > head.term) throw new RaftDecodeError('a snapshot from a later term than its message');
      return {
        ...head,
        type,
        meta: { index, term, configuration: decodeConfiguration(reader.take(reader.left)) },
      };
    }
    case 'readIndex':
      return { ...head, type, requestId: reader.number() };
    case 'readIndexReply':
      return { ...head, type, requestId: reader.number(), index: reader.number(), ok: reader.flag() };
    case 'timeoutNow':
      return { ...head, type };
  }
}

function decodeAppend(head: Head, reader: Reader): Message {
  const prevIndex = reader.number();
  const prevTerm = reader.number();
  const commit = reader.number();
  const count = reader.uint32();
  if (count > MAX_APPEND_ENTRIES)
    throw new RaftDecodeError(`an append of more than ${MAX_APPEND_ENTRIES} entries`);
  const table = new Reader(reader.take(count * ENTRY_BYTES));
  const entries: Entry[] = [];
  let before = prevTerm;
  for (let i = 0; i < count; i++) {
    const term = table.number();
    const type = entryTypes[table.byte()];
    if (type === undefined) throw new RaftDecodeError('an entry of an unknown type');
    if (term < before) throw new RaftDecodeError('entries that go back in term');
    before = term;
    const data = reader.take(table.uint32());
    if (type === 'config') decodeConfiguration(data);
    entries.push({ term, index: prevIndex + 1 + i, type, data });
  }
  if (before > head.term) throw new RaftDecodeError('an entry from a later term than its message');
  return { ...head, type: 'append', prevIndex, prevTerm, entries, commit };
}

class Writer {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(length: number) {
    this.bytes = new Uint8Array(length);
    this.#view = new DataView(this.bytes.buffer);
  }

  byte(value: number): void {
    this.bytes[this.#at++] = value;
  }
  flag(value: boolean): void {
    this.byte(value ? 1 : 0);
  }
  uint32(value: number): void {
    this.#view.setUint32(this.#at, value);
    this.#at += 4;
  }
  number(value: number): void {
    invariant(Number.isSafeInteger(value) && value >= 0, 'numbers of a message are safe integers');
    this.uint32(Math.floor(value / 2 ** 32));
    this.uint32(value >>> 0);
  }
  id(value: bigint): void {
    this.#view.setBigUint64(this.#at, value);
    this.#at += 8;
  }
}

class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  /** @throws RaftDecodeError when fewer bytes are left. */
  #advance(count: number): number {
    if (count > this.left) throw new RaftDecodeError('a message that ends too early');
    const at = this.#at;
    this.#at += count;
    return at;
  }

  byte(): number {
    return this.#view.getUint8(this.#advance(1));
  }
  flag(): boolean {
    const value = this.byte();
    if (value > 1) throw new RaftDecodeError('a flag that is neither 0 nor 1');
    return value === 1;
  }
  uint32(): number {
    return this.#view.getUint32(this.#advance(4));
  }
  number(): number {
    const value = this.uint32() * 2 ** 32 + this.uint32();
    if (!Number.isSafeInteger(value)) throw new RaftDecodeError('a number above 2^53');
    return value;
  }
  id(): bigint {
    const id = this.#view.getBigUint64(this.#advance(8));
    if (id === 0n) throw new RaftDecodeError('a replica has no id 0');
    return id;
  }
  take(count: number): Uint8Array {
    const at = this.#advance(count);
    return this.#bytes.subarray(at, at + count);
  }
}
