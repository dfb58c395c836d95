import { ByteReader, ByteWriter, MalformedBytesError } from './byte_codec.ts';
import { decodeConfiguration, encodeConfiguration } from './raft/configuration_codec.ts';
import type { Entry, Message, SnapshotMeta } from './raft/types.ts';

/**
 * Raft's messages as they travel:
 *
 *     format 1 | cluster id, 16 bytes | type | from, 64 bits | to, 64 bits | term | fields of the type
 *
 * Numbers are LEB128. A message of another cluster, format or type is refused; Raft bears its loss.
 */
const format = 1;
const types = [
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
] as const satisfies readonly Message['type'][];
const numberOf = new Map<Message['type'], number>(types.map((type, number) => [type, number]));
const entryTypes = ['noop', 'config', 'command'] as const satisfies readonly Entry['type'][];
const headerBytes = 1 + 16 + 1 + 16 + 8;

export function encodeMessage(clusterId: Uint8Array, message: Message): Uint8Array {
  const number = numberOf.get(message.type);
  if (number === undefined) throw new Error(`message type ${message.type} has no number`);
  const out = new ByteWriter(headerBytes + sizeHint(message));
  out.u8(format);
  out.raw(clusterId);
  out.u8(number);
  out.u64(message.from);
  out.u64(message.to);
  out.varint(message.term);
  writeFields(out, message);
  return out.finish();
}

/** Entry data are views into `bytes`. @throws MalformedBytesError, RaftDecodeError */
export function decodeMessage(clusterId: Uint8Array, bytes: Uint8Array): Message {
  const input = new ByteReader(bytes);
  if (input.u8() !== format) throw new MalformedBytesError('a message of an unknown format');
  if (Buffer.compare(input.raw(16), clusterId) !== 0)
    throw new MalformedBytesError('a message of another cluster');
  const type = types[input.u8()];
  if (type === undefined) throw new MalformedBytesError('a message of an unknown type');
  const addressed = { from: input.u64(), to: input.u64(), term: input.varint() };
  const message = readFields(input, type, addressed);
  input.end();
  return message;
}

export function writeEntry(out: ByteWriter, entry: Entry): void {
  writeEntryHead(out, entry);
  out.bytes(entry.data);
}

/** All but the data. */
export function writeEntryHead(out: ByteWriter, entry: Entry): void {
  out.u8(entryTypes.indexOf(entry.type));
  out.varint(entry.term);
  out.varint(entry.index);
}

export function readEntry(input: ByteReader): Entry {
  const head = readEntryHead(input);
  return { ...head, data: input.bytes() };
}

export function readEntryHead(input: ByteReader): Omit<Entry, 'data'> {
  const type = entryTypes[input.u8()];
  if (type === undefined) throw new MalformedBytesError('an entry of an unknown type');
  const term = input.varint();
  return { term, index: input.varint(), type };
}

export function writeSnapshotMeta(out: ByteWriter, meta: SnapshotMeta): void {
  out.varint(meta.index);
  out.varint(meta.term);
  out.bytes(encodeConfiguration(meta.configuration));
}

export function readSnapshotMeta(input: ByteReader): SnapshotMeta {
  const index = input.varint();
  const term = input.varint();
  return { index, term, configuration: decodeConfiguration(input.bytes()) };
}

function writeFields(out: ByteWriter, message: Message): void {
  switch (message.type) {
    case 'preVote':
    case 'vote':
      out.varint(message.lastIndex);
      out.varint(message.lastTerm);
      out.u8(message.transfer ? 1 : 0);
      break;
    case 'preVoteReply':
    case 'voteReply':
      out.u8(message.granted ? 1 : 0);
      break;
    case 'append':
      out.varint(message.prevIndex);
      out.varint(message.prevTerm);
      out.varint(message.commit);
      out.varint(message.entries.length);
      for (const entry of message.entries) writeEntry(out, entry);
      break;
    case 'appendReply':
      out.u8(message.accepted ? 1 : 0);
      out.varint(message.index);
      out.varint(message.hintIndex);
      out.varint(message.hintTerm);
      break;
    case 'heartbeat':
      out.varint(message.commit);
      out.varint(message.nonce);
      break;
    case 'heartbeatReply':
      out.varint(message.nonce);
      break;
    case 'snapshot':
      writeSnapshotMeta(out, message.meta);
      break;
    case 'readIndex':
      out.varint(message.requestId);
      break;
    case 'readIndexReply':
      out.varint(message.requestId);
      out.varint(message.index);
      out.u8(message.ok ? 1 : 0);
      break;
    case 'timeoutNow':
      break;
  }
}

type Address = Pick<Message, 'from' | 'to' | 'term'>;

function readFields(input: ByteReader, type: Message['type'], address: Address): Message {
  switch (type) {
    case 'preVote':
    case 'vote': {
      const lastIndex = input.varint();
      return { ...address, type, lastIndex, lastTerm: input.varint(), transfer: readFlag(input) };
    }
    case 'preVoteReply':
    case 'voteReply':
      return { ...address, type, granted: readFlag(input) };
    case 'append': {
      const prevIndex = input.varint();
      const prevTerm = input.varint();
      const commit = input.varint();
      return { ...address, type, prevIndex, prevTerm, commit, entries: readEntries(input) };
    }
    case 'appendReply': {
      const accepted = readFlag(input);
      const index = input.varint();
      const hintIndex = input.varint();
      return { ...address, type, accepted, index, hintIndex, hintTerm: input.varint() };
    }
    case 'heartbeat': {
      const commit = input.varint();
      return { ...address, type, commit, nonce: input.varint() };
    }
    case 'heartbeatReply':
      return { ...address, type, nonce: input.varint() };
    case 'snapshot':
      return { ...address, type, meta: readSnapshotMeta(input) };
    case 'readIndex':
      return { ...address, type, requestId: input.varint() };
    case 'readIndexReply': {
      const requestId = input.varint();
      const index = input.varint();
      return { ...address, type, requestId, index, ok: readFlag(input) };
    }
    case 'timeoutNow':
      return { ...address, type };
  }
}

function readEntries(input: ByteReader): Entry[] {
  const count = input.varint();
  const entries: Entry[] = [];
  for (let i = 0; i < count; i++) entries.push(readEntry(input));
  return entries;
}

function readFlag(input: ByteReader): boolean {
  const flag = input.u8();
  if (flag > 1) throw new MalformedBytesError(`a flag of ${flag}`);
  return flag === 1;
}

function sizeHint(message: Message): number {
  if (message.type === 'snapshot') return 1024;
  if (message.type !== 'append') return 40;
  let bytes = 40;
  for (const entry of message.entries) bytes += 24 + entry.data.length;
  return bytes;
}
