import { crc32 } from '@node-rs/crc32';

/** The bytes of `FORMAT.md`. */

const FORMAT_VERSION = 1;

export const LOG_ID_BYTES = 16;

export const SEGMENT_HEADER_BYTES = 64;
const SEGMENT_MAGIC = Buffer.from('s3d-wal\n', 'latin1');

export const RECORD_HEADER_BYTES = 48;
const RECORD_MAGIC = 0x52443353;
const RECORD_CRC_OFFSET = 44;

export const MAX_KEY_BYTES = 255;
export const MAX_PAYLOAD_BYTES = 16 * 1024 * 1024;
export const MAX_RECORD_BYTES = RECORD_HEADER_BYTES + MAX_KEY_BYTES + MAX_PAYLOAD_BYTES;

/** Type of the records that the log writes for itself. */
export const INTERNAL_TYPE = 0;
export const ANCHOR_PAYLOAD = Buffer.from([1]);
export const SEAL_PAYLOAD = Buffer.from([2]);

/** What makes a record one of this log; derived from its random id. */
export interface LogIdentity {
  readonly id: Buffer;
  readonly tag: number;
  readonly crcSeed: number;
  /** The first eight bytes of every record: what a scan looks for behind damage. */
  readonly recordPrefix: Buffer;
}

export function createIdentity(id: Uint8Array): LogIdentity {
  const bytes = Buffer.from(id);
  if (bytes.length !== LOG_ID_BYTES) {
    throw new RangeError(`log id: ${LOG_ID_BYTES} bytes expected, got ${bytes.length}`);
  }
  const recordPrefix = Buffer.alloc(8);
  recordPrefix.writeUInt32LE(RECORD_MAGIC, 0);
  bytes.copy(recordPrefix, 4, 0, 4);
  return { id: bytes, tag: bytes.readUInt32LE(0), crcSeed: crc32(bytes), recordPrefix };
}

interface SegmentHeader {
  readonly segment: number;
  readonly firstSequence: number;
  readonly logId: Buffer;
}

export function encodeSegmentHeader(header: SegmentHeader): Buffer {
  const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
  SEGMENT_MAGIC.copy(bytes, 0);
  bytes.writeUInt32LE(FORMAT_VERSION, 8);
  bytes.writeUInt32LE(header.segment, 12);
  writeUInt64(bytes, header.firstSequence, 16);
  header.logId.copy(bytes, 24);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, 60)), 60);
  return bytes;
}

/** Undefined when the bytes aren't a segment header of a version that we know. */
export function decodeSegmentHeader(bytes: Buffer): SegmentHeader | undefined {
  if (bytes.length < SEGMENT_HEADER_BYTES) return undefined;
  if (!bytes.subarray(0, 8).equals(SEGMENT_MAGIC)) return undefined;
  if (bytes.readUInt32LE(60) !== crc32(bytes.subarray(0, 60))) return undefined;
  if (bytes.readUInt32LE(8) !== FORMAT_VERSION) return undefined;
  return {
    segment: bytes.readUInt32LE(12),
    firstSequence: readUInt64(bytes, 16),
    logId: Buffer.from(bytes.subarray(24, 24 + LOG_ID_BYTES)),
  };
}

export interface RecordHeader {
  readonly type: number;
  readonly keyBytes: number;
  readonly payloadBytes: number;
  readonly payloadCrc: number;
  readonly sequence: number;
  readonly segment: number;
  readonly offset: number;
  readonly durableSegment: number;
  readonly durableOffset: number;
}

/**
 * Writes header and key at `at`; returns the offset behind the key.
 * `target` must have room for `RECORD_HEADER_BYTES + key.length`.
 */
export function encodeRecordHeader(
  identity: LogIdentity,
  into: {
    readonly target: Buffer;
    readonly at: number;
    readonly header: RecordHeader;
    readonly key: Uint8Array;
  },
): number {
  const { target, at, header, key } = into;
  target.writeUInt32LE(RECORD_MAGIC, at);
  target.writeUInt32LE(identity.tag, at + 4);
  target[at + 8] = header.type;
  target[at + 9] = header.keyBytes;
  target[at + 10] = FORMAT_VERSION;
  target[at + 11] = 0;
  target.writeUInt32LE(header.payloadBytes, at + 12);
  target.writeUInt32LE(header.payloadCrc, at + 16);
  writeUInt64(target, header.sequence, at + 20);
  target.writeUInt32LE(header.segment, at + 28);
  target.writeUInt32LE(header.offset, at + 32);
  target.writeUInt32LE(header.durableSegment, at + 36);
  target.writeUInt32LE(header.durableOffset, at + 40);
  target.set(key, at + RECORD_HEADER_BYTES);
  const end = at + RECORD_HEADER_BYTES + key.length;
  target.writeUInt32LE(headerCrc(identity, { bytes: target, at, end }), at + RECORD_CRC_OFFSET);
  return end;
}

/** `short`: more bytes are needed to tell. `invalid`: these aren't the header of a record written at this place. */
type DecodedHeader =
  | { readonly kind: 'header'; readonly header: RecordHeader }
  | { readonly kind: 'short'; readonly neededBytes: number }
  | { readonly kind: 'invalid'; readonly reason: string };

/** Checks everything that header and key can prove: magic, tag, version, CRC, and that they belong to `place`. */
export function decodeRecordHeader(
  identity: LogIdentity,
  from: {
    readonly bytes: Buffer;
    readonly at: number;
    readonly place: { readonly segment: number; readonly offset: number };
  },
): DecodedHeader {
  const { bytes, at, place } = from;
  const available = bytes.length - at;
  if (available < RECORD_HEADER_BYTES) return { kind: 'short', neededBytes: RECORD_HEADER_BYTES };
  if (bytes.readUInt32LE(at) !== RECORD_MAGIC) return { kind: 'invalid', reason: 'no record begins here' };
  if (bytes.readUInt32LE(at + 4) !== identity.tag)
    return { kind: 'invalid', reason: 'record of another log' };
  const keyBytes = bytes.readUInt8(at + 9);
  const end = at + RECORD_HEADER_BYTES + keyBytes;
  if (bytes.length < end) return { kind: 'short', neededBytes: RECORD_HEADER_BYTES + keyBytes };
  if (bytes.readUInt32LE(at + RECORD_CRC_OFFSET) !== headerCrc(identity, { bytes, at, end })) {
    return { kind: 'invalid', reason: 'the CRC of header and key is wrong' };
  }
  if (bytes[at + 10] !== FORMAT_VERSION) return { kind: 'invalid', reason: 'unknown format version' };
  const header: RecordHeader = {
    type: bytes.readUInt8(at + 8),
    keyBytes,
    payloadBytes: bytes.readUInt32LE(at + 12),
    payloadCrc: bytes.readUInt32LE(at + 16),
    sequence: readUInt64(bytes, at + 20),
    segment: bytes.readUInt32LE(at + 28),
    offset: bytes.readUInt32LE(at + 32),
    durableSegment: bytes.readUInt32LE(at + 36),
    durableOffset: bytes.readUInt32LE(at + 40),
  };
  if (header.segment !== place.segment || header.offset !== place.offset) {
    return { kind: 'invalid', reason: `record of segment ${header.segment}, offset ${header.offset}` };
  }
  if (header.payloadBytes > MAX_PAYLOAD_BYTES) return { kind: 'invalid', reason: 'the payload is over-long' };
  return { kind: 'header', header };
}

export function recordLength(header: RecordHeader): number {
  return RECORD_HEADER_BYTES + header.keyBytes + header.payloadBytes;
}

export function payloadCrc(pieces: readonly Uint8Array[]): number {
  let crc = 0;
  for (const piece of pieces) crc = crc32(piece, crc);
  return crc;
}

/** `log.id`: see FORMAT.md. */
export function encodeLogIdFile(id: Buffer): Buffer {
  const text = `s3d-log 1 ${id.toString('hex')}`;
  return Buffer.from(`${text} ${crc32(text).toString(16).padStart(8, '0')}\n`, 'latin1');
}

export function decodeLogIdFile(bytes: Buffer): Buffer | undefined {
  const match = /^(s3d-log 1 ([0-9a-f]{32})) ([0-9a-f]{8})\n$/.exec(bytes.toString('latin1'));
  if (match?.[1] === undefined || match[2] === undefined || match[3] === undefined) return undefined;
  if (crc32(match[1]) !== Number.parseInt(match[3], 16)) return undefined;
  return Buffer.from(match[2], 'hex');
}

export function segmentFileName(segment: number): string {
  return `${String(segment).padStart(10, '0')}.seg`;
}

/** Undefined for a name that isn't a segment's. */
export function parseSegmentFileName(name: string): number | undefined {
  const digits = /^(\d{10})\.seg$/.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/** Sequence numbers stay below 2^53: a million records a second reach it in 285 years. */
export function writeUInt64(target: Buffer, value: number, at: number): void {
  target.writeUInt32LE(value % 0x1_0000_0000, at);
  target.writeUInt32LE(Math.floor(value / 0x1_0000_0000), at + 4);
}

export function readUInt64(source: Buffer, at: number): number {
  return source.readUInt32LE(at) + source.readUInt32LE(at + 4) * 0x1_0000_0000;
}

function headerCrc(
  identity: LogIdentity,
  range: { readonly bytes: Buffer; readonly at: number; readonly end: number },
): number {
  const head = crc32(range.bytes.subarray(range.at, range.at + RECORD_CRC_OFFSET), identity.crcSeed);
  return crc32(range.bytes.subarray(range.at + RECORD_HEADER_BYTES, range.end), head);
}
