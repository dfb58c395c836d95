import type {
  BucketInfo,
  BucketSetting,
  Checksum,
  ChecksumAlgorithm,
  ChecksumType,
  ObjectMetadata,
  ObjectLock,
  Owner,
  SystemMetadata,
  Tags,
} from '../backend.ts';
import { sseOf, type SseRow } from '../encryption/sse_row.ts';
import { sealedOf, sealedRecord, type SealedRow } from '../frames/sealed_row.ts';
import { CorruptRecordError, decodeRecord, encodeRecord, RecordFields } from './record.ts';

const VERSION = 1;

/** Row of `buckets`. */
export interface BucketRow extends BucketInfo {
  /** 16 bytes, new each time a bucket is made: rows of an earlier bucket of the same name are told from this one's. */
  readonly id: Uint8Array;
  /** Where the text of each setting is. */
  readonly settingPlaces: ReadonlyMap<BucketSetting, SettingPlace>;
}

/** Short texts stand in the bucket's row; of longer ones, the digest by which their row in `settings` is found. */
export type SettingPlace = string | Uint8Array;

/**
 * What is known of a version but its content: row of `versions` (each version), and of the newest one a second time
 * as the key's *head*: in `objects`, or under `markerKey` where it is a delete marker.
 */
export interface VersionRow {
  readonly bucketId: Uint8Array;
  /** Where the content row is; empty in delete markers. */
  readonly contentId: Uint8Array;
  /** `null`, or the version's id. */
  readonly versionId: string;
  readonly deleteMarker?: true;
  readonly mtimeMs: number;
  readonly sizeBytes: number;
  readonly etag: string;
  readonly owner: Owner;
  readonly storageClass: string;
  readonly checksum?: { readonly algorithm: ChecksumAlgorithm; readonly type: ChecksumType };
  /** Only where it isn't the default. */
  readonly acl?: string;
  readonly tags?: Tags;
  readonly lock?: ObjectLock;
  /** In heads: when the key's `null` version was made, where it has one that isn't the head itself. */
  readonly nullMtimeMs?: number;
}

/** A part within a multipart object; its bytes are in a content row of its own. */
export interface PartOfContent {
  readonly contentId: Uint8Array;
  readonly sizeBytes: number;
  /** Raw, of the object's algorithm. */
  readonly checksum?: Uint8Array;
  readonly partNumber: number;
}

/** Row of `objects` under the 32-byte content id: everything but what a listing shows. */
export interface ContentRow {
  readonly sizeBytes: number;
  /** Where the bytes are; absent where they are in parts. */
  readonly locator?: Uint8Array;
  readonly parts?: readonly PartOfContent[];
  /** How the bytes at the locator were made of the content's; absent: they are the content's. */
  readonly sealed?: SealedRow;
  /** What the object says of its encryption. */
  readonly sse?: SseRow;
  readonly checksum?: Checksum;
  /** Absent in rows of parts. */
  readonly metadata?: ObjectMetadata;
}

/** Row of `multipart`. */
export interface UploadRow {
  readonly bucketId: Uint8Array;
  /** Of the object to be. */
  readonly owner: Owner;
  /** Only where it isn't the owner. */
  readonly initiator?: Owner;
  readonly acl?: string;
  readonly metadata: ObjectMetadata;
  readonly initiatedMs: number;
  readonly storageClass: string;
  /** Of the object to be, whether the client named it or not. */
  readonly checksum: { readonly algorithm: ChecksumAlgorithm; readonly type: ChecksumType };
  /** Whether the client named it. */
  readonly checksumChosen: boolean;
  /** Of the object to be. */
  readonly sse?: SseRow;
  readonly tags?: Tags;
  readonly lock?: ObjectLock;
}

/** Row of `parts`. Small: Complete is conditional on up to 10,000 of them in one batch. */
export interface PartRow {
  readonly contentId: Uint8Array;
  readonly sizeBytes: number;
  /** What the part's ETag is; not its MD5 where that is nobody's business (see `IngestedContent`). */
  readonly md5: Uint8Array;
  /** Raw, of the upload's algorithm. */
  readonly checksum: Uint8Array;
  readonly mtimeMs: number;
}

/** `DeletedObjectInfo`: the content row of the same id stays until the bytes that it locates are gone. */
interface DeletedRow {
  readonly deletedMs: number;
}

/** What is left to do after an upload ended: its part rows, and the content of parts that no object took over. */
interface CleanupRow {
  /** The object that took parts over; absent after Abort. */
  readonly contentId?: Uint8Array;
}

/** What Complete answered, kept for a while for clients that ask again. */
export interface CompletedRow {
  readonly bucketId: Uint8Array;
  readonly key: string;
  /** SHA-256 over the list of parts that was given. */
  readonly request: Uint8Array;
  readonly etag: string;
  readonly lastModifiedMs: number;
  readonly sizeBytes: number;
  readonly checksum?: Checksum;
  readonly versionId?: string;
  readonly sse?: SseRow;
}

export function encodeBucket(row: BucketRow): Uint8Array {
  return encodeRecord(VERSION, {
    id: row.id,
    name: row.name,
    owner: { ...row.owner },
    createdMs: row.createdMs,
    region: row.region,
    public: row.public,
    ...(row.settingPlaces.size === 0 ? {} : { settings: Object.fromEntries(row.settingPlaces) }),
  });
}

export function decodeBucket(bytes: Uint8Array): BucketRow {
  const fields = decodeRecord(bytes, { kind: 'bucket', newest: VERSION });
  return {
    id: fields.bytes('id'),
    name: fields.text('name'),
    owner: ownerOf(fields),
    createdMs: fields.integer('createdMs'),
    region: fields.text('region'),
    public: fields.boolean('public'),
    settingPlaces: settingPlacesOf(fields.optionalMap('settings')),
  };
}

export function encodeVersion(row: VersionRow): Uint8Array {
  return encodeRecord(VERSION, { ...row, ...marksRecord(row) });
}

export function decodeVersion(bytes: Uint8Array): VersionRow {
  const fields = decodeRecord(bytes, { kind: 'version', newest: VERSION });
  const checksum = fields.optionalMap('checksum');
  const acl = fields.optionalText('acl');
  const nullMtimeMs = fields.optionalInteger('nullMtimeMs');
  return {
    bucketId: fields.bytes('bucketId'),
    contentId: fields.bytes('contentId'),
    versionId: fields.text('versionId'),
    mtimeMs: fields.integer('mtimeMs'),
    sizeBytes: fields.integer('sizeBytes'),
    etag: fields.text('etag'),
    owner: ownerOf(fields),
    storageClass: fields.text('storageClass'),
    ...(checksum === undefined
      ? {}
      : { checksum: { algorithm: algorithmOf(checksum), type: typeOf(checksum) } }),
    ...(acl === undefined ? {} : { acl }),
    ...(fields.has('deleteMarker') && fields.boolean('deleteMarker') ? { deleteMarker: true } : {}),
    ...(nullMtimeMs === undefined ? {} : { nullMtimeMs }),
    ...marksOf(fields),
  };
}

export function encodeContent(row: ContentRow): Uint8Array {
  return encodeRecord(VERSION, {
    ...row,
    parts: row.parts?.map((part) => [
      part.contentId,
      part.sizeBytes,
      part.partNumber,
      ...(part.checksum === undefined ? [] : [part.checksum]),
    ]),
    metadata: row.metadata === undefined ? undefined : metadataRecord(row.metadata),
    sealed: row.sealed === undefined ? undefined : sealedRecord(row.sealed),
  });
}

export function decodeContent(bytes: Uint8Array): ContentRow {
  const fields = decodeRecord(bytes, { kind: 'content', newest: VERSION });
  const locator = fields.optionalBytes('locator');
  const parts = fields.optionalArray('parts');
  const checksum = checksumOf(fields);
  const metadata = fields.optionalMap('metadata');
  const sealed = fields.optionalMap('sealed');
  const sse = fields.optionalMap('sse');
  if ((locator === undefined) === (parts === undefined)) {
    throw new CorruptRecordError('content row needs a locator or parts');
  }
  return {
    sizeBytes: fields.integer('sizeBytes'),
    ...(locator === undefined ? {} : { locator }),
    ...(parts === undefined ? {} : { parts: parts.map(partOf) }),
    ...(sealed === undefined ? {} : { sealed: sealedOf(sealed) }),
    ...(sse === undefined ? {} : { sse: sseOf(sse) }),
    ...(checksum === undefined ? {} : { checksum }),
    ...(metadata === undefined ? {} : { metadata: metadataOf(metadata) }),
  };
}

export function encodeUpload(row: UploadRow): Uint8Array {
  return encodeRecord(VERSION, {
    ...row,
    metadata: metadataRecord(row.metadata),
    ...marksRecord(row),
  });
}

export function decodeUpload(bytes: Uint8Array): UploadRow {
  const fields = decodeRecord(bytes, { kind: 'upload', newest: VERSION });
  const checksum = fields.map('checksum');
  const initiator = fields.optionalMap('initiator');
  const acl = fields.optionalText('acl');
  const sse = fields.optionalMap('sse');
  return {
    bucketId: fields.bytes('bucketId'),
    owner: ownerOf(fields),
    ...(initiator === undefined ? {} : { initiator: ownerIn(initiator) }),
    ...(acl === undefined ? {} : { acl }),
    metadata: metadataOf(fields.map('metadata')),
    initiatedMs: fields.integer('initiatedMs'),
    storageClass: fields.text('storageClass'),
    checksum: { algorithm: algorithmOf(checksum), type: typeOf(checksum) },
    checksumChosen: fields.boolean('checksumChosen'),
    ...(sse === undefined ? {} : { sse: sseOf(sse) }),
    ...marksOf(fields),
  };
}

export function encodePart(row: PartRow): Uint8Array {
  return encodeRecord(VERSION, {
    id: row.contentId,
    n: row.sizeBytes,
    m: row.md5,
    c: row.checksum,
    t: row.mtimeMs,
  });
}

export function decodePart(bytes: Uint8Array): PartRow {
  const fields = decodeRecord(bytes, { kind: 'part', newest: VERSION });
  return {
    contentId: fields.bytes('id'),
    sizeBytes: fields.integer('n'),
    md5: fields.bytes('m'),
    checksum: fields.bytes('c'),
    mtimeMs: fields.integer('t'),
  };
}

export function encodeDeleted(row: DeletedRow): Uint8Array {
  return encodeRecord(VERSION, { ...row });
}

export function decodeDeleted(bytes: Uint8Array): DeletedRow {
  return { deletedMs: decodeRecord(bytes, { kind: 'deleted', newest: VERSION }).integer('deletedMs') };
}

export function encodeCleanup(row: CleanupRow): Uint8Array {
  return encodeRecord(VERSION, { ...row });
}

export function decodeCleanup(bytes: Uint8Array): CleanupRow {
  const contentId = decodeRecord(bytes, { kind: 'cleanup', newest: VERSION }).optionalBytes('contentId');
  return contentId === undefined ? {} : { contentId };
}

export function encodeCompleted(row: CompletedRow): Uint8Array {
  return encodeRecord(VERSION, { ...row });
}

export function decodeCompleted(bytes: Uint8Array): CompletedRow {
  const fields = decodeRecord(bytes, { kind: 'completed', newest: VERSION });
  const checksum = checksumOf(fields);
  const versionId = fields.optionalText('versionId');
  const sse = fields.optionalMap('sse');
  return {
    bucketId: fields.bytes('bucketId'),
    key: fields.text('key'),
    request: fields.bytes('request'),
    etag: fields.text('etag'),
    lastModifiedMs: fields.integer('lastModifiedMs'),
    sizeBytes: fields.integer('sizeBytes'),
    ...(checksum === undefined ? {} : { checksum }),
    ...(versionId === undefined ? {} : { versionId }),
    ...(sse === undefined ? {} : { sse: sseOf(sse) }),
  };
}

/** What protects a version, and what it is marked with. */
interface Marks {
  readonly tags?: Tags;
  readonly lock?: ObjectLock;
}

function marksRecord(row: Marks): Readonly<Record<string, unknown>> {
  const { tags, lock } = row;
  return {
    tags: tags === undefined || tags.size === 0 ? undefined : [...tags],
    lock:
      lock === undefined
        ? undefined
        : {
            ...(lock.legalHold === undefined ? {} : { legalHold: lock.legalHold }),
            ...(lock.retention === undefined ? {} : { ...lock.retention }),
          },
  };
}

function marksOf(fields: RecordFields): Marks {
  const tags = fields.optionalArray('tags');
  const lock = fields.optionalMap('lock');
  return {
    ...(tags === undefined ? {} : { tags: new Map(tags.map(pairOf)) }),
    ...(lock === undefined ? {} : { lock: lockOf(lock) }),
  };
}

function lockOf(fields: RecordFields): ObjectLock {
  const mode = fields.optionalText('mode');
  if (mode !== undefined && mode !== 'GOVERNANCE' && mode !== 'COMPLIANCE') {
    throw new CorruptRecordError(`no retention mode is called ${mode}`);
  }
  return {
    ...(fields.has('legalHold') ? { legalHold: fields.boolean('legalHold') } : {}),
    ...(mode === undefined ? {} : { retention: { mode, untilMs: fields.integer('untilMs') } }),
  };
}

function metadataRecord(metadata: ObjectMetadata): Readonly<Record<string, unknown>> {
  const present = Object.entries(metadata.system).filter(([, value]) => value !== undefined);
  // Pairs, since a client may name a header `__proto__`.
  return { system: Object.fromEntries(present), user: Object.entries(metadata.user) };
}

function metadataOf(fields: RecordFields): ObjectMetadata {
  // Names of system headers are written by this code alone; what it doesn't know is carried through.
  const system: SystemMetadata = fields.map('system').texts();
  return { system, user: Object.fromEntries((fields.optionalArray('user') ?? []).map(pairOf)) };
}

function pairOf(value: unknown): [string, string] {
  if (Array.isArray(value)) {
    const [name, text] = value as readonly unknown[];
    if (typeof name === 'string' && typeof text === 'string') return [name, text];
  }
  throw new CorruptRecordError('metadata row has a wrong pair');
}

function ownerOf(fields: RecordFields): Owner {
  return ownerIn(fields.map('owner'));
}

function ownerIn(owner: RecordFields): Owner {
  return { id: owner.text('id'), displayName: owner.text('displayName') };
}

function checksumOf(fields: RecordFields): Checksum | undefined {
  const checksum = fields.optionalMap('checksum');
  if (checksum === undefined) return undefined;
  return { algorithm: algorithmOf(checksum), type: typeOf(checksum), value: checksum.text('value') };
}

function algorithmOf(fields: RecordFields): ChecksumAlgorithm {
  const name = fields.text('algorithm');
  switch (name) {
    case 'CRC32':
    case 'CRC32C':
    case 'CRC64NVME':
    case 'SHA1':
    case 'SHA256':
      return name;
    default:
      throw new CorruptRecordError(`no checksum algorithm is called ${name}`);
  }
}

function typeOf(fields: RecordFields): ChecksumType {
  const name = fields.text('type');
  if (name === 'FULL_OBJECT' || name === 'COMPOSITE') return name;
  throw new CorruptRecordError(`no checksum type is called ${name}`);
}

function partOf(value: unknown): PartOfContent {
  if (!Array.isArray(value)) throw new CorruptRecordError('content row has a wrong part');
  const [contentId, sizeBytes, partNumber, checksum] = value as readonly unknown[];
  if (
    !(contentId instanceof Uint8Array) ||
    typeof sizeBytes !== 'number' ||
    typeof partNumber !== 'number' ||
    !(checksum === undefined || checksum instanceof Uint8Array)
  ) {
    throw new CorruptRecordError('content row has a wrong part');
  }
  return { contentId, sizeBytes, partNumber, ...(checksum === undefined ? {} : { checksum }) };
}

/** Names are written by this code alone; what a newer version set is carried through. */
function settingPlacesOf(fields: RecordFields | undefined): ReadonlyMap<BucketSetting, SettingPlace> {
  return fields === undefined
    ? new Map()
    : (fields.textsOrBytes() as ReadonlyMap<BucketSetting, SettingPlace>);
}
