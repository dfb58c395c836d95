import type { LogPoint, Position, ScanItem, ScanOptions, StoredRecord } from './append_log.ts';
import { RecordDamagedError } from './errors.ts';
import { systemErrorCode, type File } from './file_system.ts';
import {
  decodeRecordHeader,
  decodeSegmentHeader,
  INTERNAL_TYPE,
  MAX_RECORD_BYTES,
  payloadCrc,
  RECORD_HEADER_BYTES,
  recordLength,
  SEAL_PAYLOAD,
  SEGMENT_HEADER_BYTES,
  type LogIdentity,
} from './format.ts';
import type { Segment, SegmentFiles } from './segment_files.ts';
import { scanSegment } from './segment_scanner.ts';

interface Source {
  readonly files: SegmentFiles;
  readonly identity: LogIdentity;
}

/**
 * One record, checked in full: it lies where `position` says, has that length, and both CRCs are right.
 * @throws RecordDamagedError, SegmentNotFoundError
 */
export async function readRecord(source: Source, position: Position): Promise<StoredRecord> {
  const { segment, offset, lengthBytes } = position;
  if (lengthBytes < RECORD_HEADER_BYTES || lengthBytes > MAX_RECORD_BYTES || offset < SEGMENT_HEADER_BYTES) {
    throw new RecordDamagedError(position, `no record has ${lengthBytes} bytes there`);
  }
  const bytes = Buffer.allocUnsafeSlow(lengthBytes);
  let count: number;
  try {
    count = await source.files.withFile(segment, (file) => file.read(bytes, offset));
  } catch (error) {
    if (systemErrorCode(error) !== 'EIO') throw error;
    throw new RecordDamagedError(position, 'the disk cannot read it', { cause: error });
  }
  if (count < lengthBytes) throw new RecordDamagedError(position, 'the segment ends before');
  const decoded = decodeRecordHeader(source.identity, { bytes, at: 0, place: position });
  if (decoded.kind !== 'header') {
    throw new RecordDamagedError(
      position,
      decoded.kind === 'invalid' ? decoded.reason : 'the record is cut short',
    );
  }
  const { header } = decoded;
  if (recordLength(header) !== lengthBytes)
    throw new RecordDamagedError(position, 'the record has another length');
  const keyEnd = RECORD_HEADER_BYTES + header.keyBytes;
  const payload = bytes.subarray(keyEnd);
  if (payloadCrc([payload]) !== header.payloadCrc) {
    throw new RecordDamagedError(position, 'the CRC of the payload is wrong');
  }
  return { type: header.type, key: bytes.subarray(RECORD_HEADER_BYTES, keyEnd), payload };
}

/** Every record and all damage between `from` and `end`; the segments concerned are held until it is over. */
export async function* scanSegments(
  source: Source,
  range: ScanOptions & {
    readonly from: LogPoint | undefined;
    readonly end: LogPoint;
    readonly only?: number;
  },
): AsyncGenerator<ScanItem> {
  const { from, end } = range;
  const segments = source.files
    .list()
    .filter(({ id }) => id <= end.segment && (from === undefined || id >= from.segment))
    .filter(({ id }) => range.only === undefined || id === range.only);
  const releases = segments.map(({ id }) => source.files.hold(id));
  try {
    for (const [place, segment] of segments.entries()) {
      const begin = segment.id === from?.segment ? from.offset : 0;
      const to = segment.id === end.segment ? end.offset : segment.sizeBytes;
      const whole = segment.id !== end.segment;
      yield* scanOne(source, { segment, from: begin, to, whole, transient: range.transient ?? false });
      releases[place]?.();
    }
  } finally {
    for (const release of releases) release();
  }
}

async function* scanOne(
  source: Source,
  range: ScanOptions & {
    readonly segment: Segment;
    readonly from: number;
    readonly to: number;
    readonly whole: boolean;
  },
): AsyncGenerator<ScanItem> {
  const { id } = range.segment;
  let { from } = range;
  if (from < SEGMENT_HEADER_BYTES) {
    from = SEGMENT_HEADER_BYTES;
    const reason = await source.files.useHeld(id, (file) => headerDamage(file, { source, id }));
    if (reason !== undefined) yield { kind: 'damage', segment: id, from: 0, to: from, reason };
  }
  // A descriptor per chunk, so that a slow consumer doesn't keep one from being closed.
  const file: Pick<File, 'read'> = {
    read: (target, position) => source.files.useHeld(id, (held) => held.read(target, position)),
  };
  let sealed = false;
  for await (const items of scanSegment({
    file,
    identity: source.identity,
    segment: id,
    from,
    to: range.to,
    transient: range.transient ?? false,
  })) {
    for (const item of items) {
      if (item.kind === 'damage') {
        yield { ...item, segment: id };
      } else if (item.header.type === INTERNAL_TYPE) {
        sealed = item.payload.equals(SEAL_PAYLOAD) && item.header.offset + item.lengthBytes === range.to;
      } else {
        const position = { segment: id, offset: item.header.offset, lengthBytes: item.lengthBytes };
        yield {
          kind: 'record',
          position,
          record: { type: item.header.type, key: item.key, payload: item.payload },
        };
      }
    }
  }
  if (range.whole && !sealed && (from < range.to || range.from < SEGMENT_HEADER_BYTES)) {
    const reason = 'the seal is missing: the segment has lost its end';
    yield { kind: 'damage', segment: id, from: range.to, to: range.to, reason };
  }
}

async function headerDamage(
  file: File,
  segment: { readonly source: Source; readonly id: number },
): Promise<string | undefined> {
  const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
  try {
    await file.read(bytes, 0);
  } catch (error) {
    if (systemErrorCode(error) !== 'EIO') throw error;
    return 'the disk cannot read the segment header';
  }
  const header = decodeSegmentHeader(bytes);
  if (header === undefined) return 'the segment header is unreadable';
  if (header.segment !== segment.id || !header.logId.equals(segment.source.identity.id)) {
    return `the segment header is that of segment ${header.segment}, log ${header.logId.toString('hex')}`;
  }
  return undefined;
}
