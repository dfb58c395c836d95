import type { LogPoint, LogRecord, Position } from './append_log.ts';
import { RecordInvalidError } from './errors.ts';
import {
  encodeRecordHeader,
  INTERNAL_TYPE,
  MAX_KEY_BYTES,
  MAX_PAYLOAD_BYTES,
  payloadCrc,
  RECORD_HEADER_BYTES,
  type LogIdentity,
} from './format.ts';

/** Payloads below this are copied beside their header: a longer vector costs more than the copy. */
const COPY_BELOW_BYTES = 2048;

/** A record of which all is known but its place. */
export interface PreparedRecord {
  readonly type: number;
  readonly key: Uint8Array;
  readonly pieces: readonly Uint8Array[];
  readonly payloadBytes: number;
  readonly payloadCrc: number;
  readonly lengthBytes: number;
}

/** @throws RecordInvalidError for a type, key or payload outside the limits of the format. */
export function prepareRecord(record: LogRecord): PreparedRecord {
  const { type, key } = record;
  if (!Number.isInteger(type) || type <= INTERNAL_TYPE || type > 255) {
    throw new RecordInvalidError(`type: an integer from 1 to 255 expected, got ${type}`);
  }
  if (key.length > MAX_KEY_BYTES) {
    throw new RecordInvalidError(`key: at most ${MAX_KEY_BYTES} bytes, got ${key.length}`);
  }
  const pieces = record.payload instanceof Uint8Array ? [record.payload] : record.payload;
  let payloadBytes = 0;
  for (const piece of pieces) payloadBytes += piece.length;
  if (payloadBytes > MAX_PAYLOAD_BYTES) {
    throw new RecordInvalidError(`payload: at most ${MAX_PAYLOAD_BYTES} bytes, got ${payloadBytes}`);
  }
  return prepare({ type, key, pieces, payloadBytes });
}

/** An anchor or a seal. */
export function prepareInternal(payload: Buffer): PreparedRecord {
  return prepare({
    type: INTERNAL_TYPE,
    key: new Uint8Array(0),
    pieces: [payload],
    payloadBytes: payload.length,
  });
}

function prepare(parts: Pick<PreparedRecord, 'type' | 'key' | 'pieces' | 'payloadBytes'>): PreparedRecord {
  return {
    ...parts,
    payloadCrc: payloadCrc(parts.pieces),
    lengthBytes: RECORD_HEADER_BYTES + parts.key.length + parts.payloadBytes,
  };
}

interface EncodedGroup {
  /** To be written one behind the other; large payloads are the caller's own memory. */
  readonly pieces: readonly Uint8Array[];
  readonly positions: readonly Position[];
  readonly lengthBytes: number;
}

/** Lays records out one behind the other from `start`. */
export function encodeGroup(
  records: readonly PreparedRecord[],
  place: {
    readonly identity: LogIdentity;
    readonly start: LogPoint;
    readonly sequence: number;
    readonly durable: LogPoint;
  },
): EncodedGroup {
  const slab = Buffer.allocUnsafe(slabBytes(records));
  const pieces: Uint8Array[] = [];
  const positions: Position[] = [];
  let used = 0;
  let emitted = 0;
  let offset = place.start.offset;
  let sequence = place.sequence;
  for (const record of records) {
    used = encodeRecordHeader(place.identity, {
      target: slab,
      at: used,
      key: record.key,
      header: {
        type: record.type,
        keyBytes: record.key.length,
        payloadBytes: record.payloadBytes,
        payloadCrc: record.payloadCrc,
        sequence,
        segment: place.start.segment,
        offset,
        durableSegment: place.durable.segment,
        durableOffset: place.durable.offset,
      },
    });
    if (record.payloadBytes < COPY_BELOW_BYTES) {
      for (const piece of record.pieces) {
        slab.set(piece, used);
        used += piece.length;
      }
    } else {
      pieces.push(slab.subarray(emitted, used), ...record.pieces);
      emitted = used;
    }
    positions.push({ segment: place.start.segment, offset, lengthBytes: record.lengthBytes });
    offset += record.lengthBytes;
    sequence += 1;
  }
  if (used > emitted) pieces.push(slab.subarray(emitted, used));
  return { pieces, positions, lengthBytes: offset - place.start.offset };
}

function slabBytes(records: readonly PreparedRecord[]): number {
  let bytes = 0;
  for (const record of records) {
    bytes += RECORD_HEADER_BYTES + record.key.length;
    if (record.payloadBytes < COPY_BELOW_BYTES) bytes += record.payloadBytes;
  }
  return bytes;
}
