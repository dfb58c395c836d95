import { MalformedBytesError, type ByteReader, type ByteWriter } from '../wal/byte_codec.ts';
import { decodeConfiguration, encodeConfiguration } from './raft/configuration_codec.ts';
import type { Entry, SnapshotMeta } from './raft/types.ts';

const entryTypes = ['noop', 'config', 'command'] as const satisfies readonly Entry['type'][];

/** All of an entry but its data. */
export function writeEntryHead(out: ByteWriter, entry: Entry): void {
  out.u8(entryTypes.indexOf(entry.type));
  out.varint(entry.term);
  out.varint(entry.index);
}

/** @throws MalformedBytesError */
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

/** @throws MalformedBytesError, RaftDecodeError */
export function readSnapshotMeta(input: ByteReader): SnapshotMeta {
  const index = input.varint();
  const term = input.varint();
  return { index, term, configuration: decodeConfiguration(input.bytes()) };
}
