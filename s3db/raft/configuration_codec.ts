import type { Configuration, ReplicaId } from './types.ts';

/** Bytes that are no Configuration or Message of a version we know. */
export class RaftDecodeError extends Error {
  override readonly name = 'RaftDecodeError';
}

const VERSION = 1;
const HEADER_BYTES = 7;
const ID_BYTES = 8;
/** Per list. `removed` grows with every replacement of a replica, so this is no small number; 32 KiB in bytes. */
const MAX_IDS = 4096;

/**
 * Deterministic: version (1 byte), the number of voters, learners and removed ids (2 bytes each, big-endian), then the ids
 * (8 bytes each, big-endian), each list ascending.
 */
export function encodeConfiguration(configuration: Configuration): Uint8Array {
  const lists = [configuration.voters, configuration.learners, configuration.removed];
  const bytes = new Uint8Array(HEADER_BYTES + ID_BYTES * lists.reduce((sum, list) => sum + list.length, 0));
  const view = new DataView(bytes.buffer);
  bytes[0] = VERSION;
  let at = HEADER_BYTES;
  for (const [i, list] of lists.entries()) {
    if (list.length > MAX_IDS) throw new RangeError(`a configuration holds at most ${MAX_IDS} ids a list`);
    view.setUint16(1 + 2 * i, list.length);
    for (const id of list.toSorted(compareIds)) {
      view.setBigUint64(at, id);
      at += ID_BYTES;
    }
  }
  return bytes;
}

/** @throws RaftDecodeError unless `bytes` are exactly one encoded configuration, without doubles and without id 0. */
export function decodeConfiguration(bytes: Uint8Array): Configuration {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < HEADER_BYTES || bytes[0] !== VERSION) throw new RaftDecodeError('not a configuration');
  const counts = [view.getUint16(1), view.getUint16(3), view.getUint16(5)] as const;
  if (bytes.length !== HEADER_BYTES + ID_BYTES * (counts[0] + counts[1] + counts[2])) {
    throw new RaftDecodeError('a configuration of the wrong length');
  }
  let at = HEADER_BYTES;
  const seen = new Set<ReplicaId>();
  const [voters, learners, removed] = counts.map((count) => {
    if (count > MAX_IDS) throw new RaftDecodeError(`a configuration of more than ${MAX_IDS} ids a list`);
    const list: ReplicaId[] = [];
    for (let i = 0; i < count; i++, at += ID_BYTES) {
      const id = view.getBigUint64(at);
      if (id === 0n || seen.has(id) || id <= (list.at(-1) ?? 0n)) {
        throw new RaftDecodeError('ids of a configuration are distinct, ascending and not 0');
      }
      seen.add(id);
      list.push(id);
    }
    return list;
  });
  return { voters: voters ?? [], learners: learners ?? [], removed: removed ?? [] };
}

function compareIds(a: ReplicaId, b: ReplicaId): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
