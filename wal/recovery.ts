import { LogDamagedError } from './errors.ts';
import { readSmallFile, writeFileDurably, type File, type FileSystem } from './file_system.ts';
import {
  createIdentity,
  decodeLogIdFile,
  decodeSegmentHeader,
  encodeLogIdFile,
  INTERNAL_TYPE,
  LOG_ID_BYTES,
  parseSegmentFileName,
  RECORD_HEADER_BYTES,
  SEAL_PAYLOAD,
  SEGMENT_HEADER_BYTES,
  segmentFileName,
  type LogIdentity,
} from './format.ts';
import { readAround, scanSegment } from './segment_scanner.ts';

const LOG_ID_FILE = 'log.id';
const MAX_TORN_FILES = 16;
const COPY_BYTES = 1024 * 1024;
/** A segment's creation is durable before the first record is written. */
const MAX_UNFINISHED_BYTES = SEGMENT_HEADER_BYTES;

/** What opening a log found and did. */
export interface RecoveryReport {
  /** Nothing was there before. */
  readonly created: boolean;
  readonly segments: number;
  /** Records found in the newest segment, without those of the log itself. */
  readonly records: number;
  /** Bytes that could be read but weren't known to be durable, and were written again. */
  readonly rewrittenBytes: number;
  /** Torn tails: never acknowledged, cut off and kept in `file`. */
  readonly cut: readonly CutTail[];
  /** Acknowledged bytes that are unreadable. Still there, reported by every scan. Only the newest segment is looked at. */
  readonly damaged: readonly DamagedRange[];
}

interface CutTail {
  readonly segment: number;
  readonly from: number;
  readonly to: number;
  readonly file: string;
}

export interface DamagedRange {
  readonly segment: number;
  readonly from: number;
  readonly to: number;
  readonly reason: string;
}

/** What the newest segment holds once it is recovered. */
interface RecoveredSegment {
  readonly segment: number;
  readonly sizeBytes: number;
  /** Undefined when no record tells. */
  readonly nextSequence: number | undefined;
  readonly sealed: boolean;
  readonly records: number;
  readonly rewrittenBytes: number;
  readonly cut: readonly CutTail[];
  readonly damaged: readonly DamagedRange[];
}

interface Place {
  readonly fileSystem: FileSystem;
  readonly directory: string;
}

/** Ids of the segments that exist, ascending. */
export async function listSegments(place: Place): Promise<readonly number[]> {
  const ids: number[] = [];
  for (const name of await place.fileSystem.readDirectory(place.directory)) {
    const id = parseSegmentFileName(name);
    if (id !== undefined) ids.push(id);
  }
  return ids.sort((a, b) => a - b);
}

/**
 * The log's identity: from `log.id`, else from a segment header, else (nothing is there) a new one.
 * @throws LogDamagedError when there are segments but none of this tells their log.
 */
export async function loadIdentity(
  place: Place,
  options: { readonly segments: readonly number[]; readonly randomBytes: (count: number) => Uint8Array },
): Promise<LogIdentity> {
  const stored = await readSmallFile(place.fileSystem, `${place.directory}/${LOG_ID_FILE}`);
  let id = stored === undefined ? undefined : decodeLogIdFile(stored);
  if (id !== undefined) return createIdentity(id);
  for (const segment of options.segments) {
    const path = `${place.directory}/${segmentFileName(segment)}`;
    const bytes = await readSmallFile(place.fileSystem, path, SEGMENT_HEADER_BYTES);
    id ??= bytes === undefined ? undefined : decodeSegmentHeader(bytes)?.logId;
  }
  // It is durable before the first segment is created, so a segment without it means damage.
  if (id === undefined && options.segments.length > 0) {
    throw new LogDamagedError(`${place.directory}: neither log.id nor any segment header can be read`);
  }
  id ??= Buffer.from(options.randomBytes(LOG_ID_BYTES));
  const bytes = encodeLogIdFile(id);
  await writeFileDurably(place.fileSystem, { directory: place.directory, name: LOG_ID_FILE, bytes });
  return createIdentity(id);
}

/**
 * Brings the newest segment into a state in which all of it is durable; see "Opening" in FORMAT.md.
 * Undefined when the segment was never finished being created; it is put aside then.
 */
export async function recoverNewest(
  place: Place,
  newest: { readonly identity: LogIdentity; readonly segment: number },
): Promise<RecoveredSegment | undefined> {
  const { identity, segment } = newest;
  const name = segmentFileName(segment);
  const file = await place.fileSystem.open(`${place.directory}/${name}`, 'write');
  let recovered: RecoveredSegment | undefined;
  try {
    recovered = await recoverOpen(place, { identity, segment, file });
  } finally {
    await file.close();
  }
  if (recovered === undefined) {
    await place.fileSystem.rename(
      `${place.directory}/${name}`,
      `${place.directory}/${tornFileName(segment, 0)}`,
    );
    await removeOldTornFiles(place);
  }
  await place.fileSystem.syncDirectory(place.directory);
  return recovered;
}

/**
 * A sequence number behind all that the sealed segments hold: for when the newest segment doesn't say. Numbers are left
 * out for what is unreadable.
 */
export async function sequenceBehind(
  place: Place,
  log: { readonly identity: LogIdentity; readonly segments: readonly number[] },
): Promise<number> {
  let unreadableBytes = 0;
  for (const segment of log.segments.toReversed()) {
    const file = await place.fileSystem.open(`${place.directory}/${segmentFileName(segment)}`, 'read');
    try {
      const to = await file.size();
      let next: number | undefined;
      for await (const items of scanSegment({
        file,
        identity: log.identity,
        segment,
        from: SEGMENT_HEADER_BYTES,
        to,
        transient: true,
      })) {
        for (const item of items) if (item.kind === 'record') next = item.header.sequence + 1;
      }
      unreadableBytes += to;
      if (next !== undefined) return next + Math.ceil(unreadableBytes / RECORD_HEADER_BYTES);
    } finally {
      await file.close();
    }
  }
  return 1 + Math.ceil(unreadableBytes / RECORD_HEADER_BYTES);
}

async function recoverOpen(
  place: Place,
  newest: { readonly identity: LogIdentity; readonly segment: number; readonly file: File },
): Promise<RecoveredSegment | undefined> {
  const { segment, file } = newest;
  const size = await file.size();
  const found = await survey(newest, size);
  if (found.header === undefined && found.records === 0 && found.internal === 0) {
    if (size > MAX_UNFINISHED_BYTES) return unreadable(segment, size);
    return undefined;
  }

  const torn = found.damaged.find((range) => range.from >= found.durable);
  const end = torn?.from ?? size;
  const cut: CutTail[] = [];
  if (torn !== undefined) {
    const kept = await copyTorn(place, { file, segment, from: end, to: size });
    cut.push({ segment, from: end, to: size, file: kept });
    await file.truncate(end);
  }
  const damaged = found.damaged.filter((range) => range.to <= end);
  const rewriteFrom = damaged.length > 0 ? Math.max(found.durable, damaged.at(-1)?.to ?? 0) : found.durable;
  const rewrittenBytes = await rewrite(file, { from: Math.min(rewriteFrom, end), to: end });
  await file.dataSync();
  return {
    segment,
    sizeBytes: end,
    nextSequence: found.sequenceAt(end),
    sealed: found.sealedAt === end,
    records: found.records,
    rewrittenBytes,
    cut,
    damaged,
  };
}

/** Records were written, but not one can be read: all of it stays where it is, as damage. */
function unreadable(segment: number, size: number): RecoveredSegment {
  const damaged = [{ segment, from: 0, to: size, reason: 'neither its header nor any record can be read' }];
  const nothing = { sealed: false, records: 0, rewrittenBytes: 0, cut: [] };
  return { segment, sizeBytes: size, nextSequence: undefined, damaged, ...nothing };
}

async function survey(
  newest: { readonly identity: LogIdentity; readonly segment: number; readonly file: File },
  size: number,
) {
  const { identity, segment, file } = newest;
  const headerBytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
  const headerLength = await readAround(file, { target: headerBytes, position: 0 });
  const header = decodeSegmentHeader(headerBytes.subarray(0, headerLength));
  if (header !== undefined && (header.segment !== segment || !header.logId.equals(identity.id))) {
    throw new LogDamagedError(
      `${segmentFileName(segment)} is segment ${header.segment} of log ${header.logId.toString('hex')}; ` +
        `this is log ${identity.id.toString('hex')}`,
    );
  }
  const damaged: DamagedRange[] = [];
  let records = 0;
  let internal = 0;
  // The header was durable before the first record was written, but nothing proves it to a reader; see rewrite.
  let durable = 0;
  let sealedAt: number | undefined;
  /** Ends of the records with the sequence number that follows; only the newest matter, after a cut. */
  let tail: { readonly end: number; readonly sequence: number }[] = [];
  const source = { file, identity, segment, from: SEGMENT_HEADER_BYTES, to: size, transient: true };
  for await (const items of scanSegment(source)) {
    for (const item of items) {
      if (item.kind === 'damage') {
        damaged.push({ segment, from: item.from, to: item.to, reason: item.reason });
        continue;
      }
      const end = item.header.offset + item.lengthBytes;
      tail.push({ end, sequence: item.header.sequence + 1 });
      if (item.header.durableSegment === segment) durable = Math.max(durable, item.header.durableOffset);
      if (item.header.type !== INTERNAL_TYPE) records += 1;
      else {
        internal += 1;
        if (item.payload.equals(SEAL_PAYLOAD)) sealedAt = end;
      }
    }
    // What is cut lies at or behind the durable point, so what is left ends there or behind it.
    const behind = tail.findLastIndex((entry) => entry.end <= durable);
    if (behind > 0) tail = tail.slice(behind);
  }
  if (header === undefined) {
    damaged.unshift({
      segment,
      from: 0,
      to: SEGMENT_HEADER_BYTES,
      reason: 'the segment header is unreadable',
    });
    durable = Math.max(durable, SEGMENT_HEADER_BYTES);
  }
  const firstSequence = header?.firstSequence ?? 0;
  const sequenceAt = (end: number): number =>
    tail.findLast((entry) => entry.end <= end)?.sequence ?? firstSequence;
  return { header, damaged, records, internal, durable, sealedAt, sequenceAt };
}

/** Writes what is there again, so that the next fdatasync really covers it: see FORMAT.md, "Opening", 4. */
async function rewrite(file: File, range: { readonly from: number; readonly to: number }): Promise<number> {
  const buffer = Buffer.allocUnsafe(Math.min(COPY_BYTES, range.to - range.from));
  for (let at = range.from; at < range.to; at += COPY_BYTES) {
    const piece = buffer.subarray(0, Math.min(COPY_BYTES, range.to - at));
    const count = await file.read(piece, at);
    await file.write([piece.subarray(0, count)], at);
  }
  return range.to - range.from;
}

async function copyTorn(
  place: Place,
  range: { readonly file: File; readonly segment: number; readonly from: number; readonly to: number },
): Promise<string> {
  const name = tornFileName(range.segment, range.from);
  const path = `${place.directory}/${name}`;
  if ((await place.fileSystem.readDirectory(place.directory)).includes(name))
    await place.fileSystem.unlink(path);
  const target = await place.fileSystem.open(path, 'create');
  try {
    const buffer = Buffer.allocUnsafe(Math.min(COPY_BYTES, range.to - range.from));
    for (let at = range.from; at < range.to; at += COPY_BYTES) {
      const piece = buffer.subarray(0, Math.min(COPY_BYTES, range.to - at));
      const count = await readAround(range.file, { target: piece, position: at });
      await target.write([buffer.subarray(0, count)], at - range.from);
    }
    await target.dataSync();
  } finally {
    await target.close();
  }
  await removeOldTornFiles(place);
  await place.fileSystem.syncDirectory(place.directory);
  return name;
}

function tornFileName(segment: number, offset: number): string {
  return `${String(segment).padStart(10, '0')}-${offset}.torn`;
}

async function removeOldTornFiles(place: Place): Promise<void> {
  const names = (await place.fileSystem.readDirectory(place.directory)).filter((name) =>
    name.endsWith('.torn'),
  );
  names.sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  for (const name of names.slice(0, -MAX_TORN_FILES))
    await place.fileSystem.unlink(`${place.directory}/${name}`);
}
