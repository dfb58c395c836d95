import fc from 'fast-check';
import type { BucketSetting } from '../backend.ts';
import { describe, expect, it } from 'vitest';
import { CorruptRecordError, encodeRecord } from './record.ts';
import {
  decodeBucket,
  decodeCleanup,
  decodeCompleted,
  decodeContent,
  decodeDeleted,
  decodePart,
  decodeUpload,
  decodeVersion,
  encodeBucket,
  encodeCleanup,
  encodeCompleted,
  encodeContent,
  encodeDeleted,
  encodePart,
  encodeUpload,
  encodeVersion,
  type BucketRow,
  type CompletedRow,
  type ContentRow,
  type PartRow,
  type UploadRow,
  type VersionRow,
} from './rows.ts';

const id = new Uint8Array(16).fill(1);
const contentId = new Uint8Array(32).fill(2);
const owner = { id: '123456789012', displayName: 'main' };
const metadata = { system: { contentType: 'text/plain' }, user: { a: 'b' } };

const bucket: BucketRow = {
  id,
  name: 'photos',
  owner,
  createdMs: 1.7e12,
  region: 'eu-1',
  public: true,
  settingPlaces: new Map(),
};
const configuredBucket: BucketRow = {
  ...bucket,
  settingPlaces: new Map<BucketSetting, string | Uint8Array>([
    ['versioning', 'Enabled'],
    ['policy', new Uint8Array(16).fill(3)],
  ]),
};
const version: VersionRow = {
  bucketId: id,
  contentId,
  versionId: 'null',
  mtimeMs: 1_700_000_000_123,
  sizeBytes: 5 * 1024 ** 4,
  etag: 'd41d8cd98f00b204e9800998ecf8427e-3',
  owner,
  storageClass: 'STANDARD',
  checksum: { algorithm: 'CRC64NVME', type: 'FULL_OBJECT' },
};
const protectedVersion: VersionRow = {
  ...version,
  versionId: '018bcfe5687b00000000000000000000',
  tags: new Map([
    ['__proto__', 'a'],
    ['kind', ''],
  ]),
  lock: { retention: { mode: 'COMPLIANCE', untilMs: 1.9e12 }, legalHold: false },
  nullMtimeMs: 1.6e12,
};
const marker: VersionRow = {
  bucketId: id,
  contentId: new Uint8Array(0),
  versionId: 'null',
  mtimeMs: 1.7e12,
  sizeBytes: 0,
  etag: '',
  owner,
  storageClass: 'STANDARD',
  deleteMarker: true,
};
const content: ContentRow = {
  sizeBytes: 3,
  locator: new Uint8Array([9, 9]),
  metadata,
  checksum: { algorithm: 'SHA1', type: 'COMPOSITE', value: 'AAAA-2' },
};
const joined: ContentRow = {
  sizeBytes: 7,
  parts: [
    { contentId, sizeBytes: 4, partNumber: 1, checksum: new Uint8Array([1, 2]) },
    { contentId: id, sizeBytes: 3, partNumber: 9 },
  ],
};
const upload: UploadRow = {
  bucketId: id,
  owner,
  metadata,
  initiatedMs: 1.7e12,
  storageClass: 'STANDARD',
  checksum: { algorithm: 'CRC32', type: 'FULL_OBJECT' },
  checksumChosen: true,
};
const part: PartRow = { contentId, sizeBytes: 5, md5: id, checksum: new Uint8Array(8), mtimeMs: 1.7e12 };
const completed: CompletedRow = {
  bucketId: id,
  key: 'k',
  request: contentId,
  etag: 'e',
  lastModifiedMs: 1.7e12,
  sizeBytes: 1,
  checksum: { algorithm: 'CRC32C', type: 'FULL_OBJECT', value: 'AAAAAA==' },
  versionId: 'v',
};

interface Kind {
  readonly row: object;
  readonly encode: (row: never) => Uint8Array;
  readonly decode: (bytes: Uint8Array) => object;
}

const kinds: Readonly<Record<string, Kind>> = {
  bucket: { row: bucket, encode: encodeBucket, decode: decodeBucket },
  'bucket with settings': { row: configuredBucket, encode: encodeBucket, decode: decodeBucket },
  version: { row: version, encode: encodeVersion, decode: decodeVersion },
  'protected version': { row: protectedVersion, encode: encodeVersion, decode: decodeVersion },
  'delete marker': { row: marker, encode: encodeVersion, decode: decodeVersion },
  content: { row: content, encode: encodeContent, decode: decodeContent },
  'content in parts': { row: joined, encode: encodeContent, decode: decodeContent },
  upload: { row: upload, encode: encodeUpload, decode: decodeUpload },
  part: { row: part, encode: encodePart, decode: decodePart },
  deleted: { row: { deletedMs: 1.7e12 }, encode: encodeDeleted, decode: decodeDeleted },
  cleanup: { row: { contentId }, encode: encodeCleanup, decode: decodeCleanup },
  completed: { row: completed, encode: encodeCompleted, decode: decodeCompleted },
};

/** Rows as version 1 wrote them. They are on disks: a change that can't read them is wrong, not they. */
const written: Readonly<Record<string, string>> = {
  bucket:
    '01a66269645001010101010101010101010101010101646e616d656670686f746f73656f776e6572a26269646c3132333435363738393031326b646973706c61794e616d65646d61696e667075626c6963f566726567696f6e6465752d3169637265617465644d731b0000018bcfe56800',
  version:
    '01a96465746167782264343164386364393866303062323034653938303039393865636638343237652d33656f776e6572a26269646c3132333435363738393031326b646973706c61794e616d65646d61696e676d74696d654d731b0000018bcfe5687b686275636b65744964500101010101010101010101010101010168636865636b73756da264747970656b46554c4c5f4f424a45435469616c676f726974686d6943524336344e564d4569636f6e74656e744964582002020202020202020202020202020202020202020202020202020202020202026973697a6542797465731b00000500000000006976657273696f6e4964646e756c6c6c73746f72616765436c617373685354414e44415244',
  content:
    '01a4676c6f6361746f7242090968636865636b73756da3647479706569434f4d504f534954456576616c756566414141412d3269616c676f726974686d6453484131686d65746164617461a264757365728182616161626673797374656da16b636f6e74656e74547970656a746578742f706c61696e6973697a65427974657303',
  'content in parts':
    '01a2657061727473828458200202020202020202020202020202020202020202020202020202020202020202040142010283500101010101010101010101010101010103096973697a65427974657307',
  upload:
    '01a7656f776e6572a26269646c3132333435363738393031326b646973706c61794e616d65646d61696e686275636b65744964500101010101010101010101010101010168636865636b73756da264747970656b46554c4c5f4f424a45435469616c676f726974686d654352433332686d65746164617461a264757365728182616161626673797374656da16b636f6e74656e74547970656a746578742f706c61696e6b696e697469617465644d731b0000018bcfe568006c73746f72616765436c617373685354414e444152446e636865636b73756d43686f73656ef5',
  part: '01a56163480000000000000000616d5001010101010101010101010101010101616e0561741b0000018bcfe5680062696458200202020202020202020202020202020202020202020202020202020202020202',
  deleted: '01a16964656c657465644d731b0000018bcfe56800',
  cleanup: '01a169636f6e74656e74496458200202020202020202020202020202020202020202020202020202020202020202',
  completed:
    '01a8636b6579616b64657461676165677265717565737458200202020202020202020202020202020202020202020202020202020202020202686275636b65744964500101010101010101010101010101010168636865636b73756da364747970656b46554c4c5f4f424a4543546576616c7565684141414141413d3d69616c676f726974686d664352433332436973697a654279746573016976657273696f6e496461766e6c6173744d6f6469666965644d731b0000018bcfe56800',
};

describe('rows', () => {
  it.each(Object.entries(kinds))('of kind %s come back as they went in', (_name, { row, encode, decode }) => {
    expect(decode(encode(row as never))).toEqual(row);
  });

  it.each(Object.entries(written))('of kind %s that version 1 wrote are read', (name, hex) => {
    expect(kinds[name]!.decode(Buffer.from(hex, 'hex'))).toEqual(kinds[name]!.row);
  });

  it('of a part are small: Complete puts up to 10,000 of them into one batch', () => {
    expect(encodePart({ ...part, checksum: new Uint8Array(32) }).length).toBeLessThan(200);
    const parts = Array.from({ length: 10_000 }, (_, i) => ({
      contentId,
      sizeBytes: 5 * 1024 ** 3,
      partNumber: i + 1,
      checksum: new Uint8Array(32),
    }));
    expect(encodeContent({ sizeBytes: 1, parts }).length).toBeLessThan(1_000_000);
  });

  it.each(Object.entries(kinds))(
    'of kind %s are refused where they are not what was written',
    (_name, kind) => {
      const good = kind.encode(kind.row as never);
      expect(() => kind.decode(new Uint8Array())).toThrow(CorruptRecordError);
      expect(() => kind.decode(good.with(0, 2))).toThrow(CorruptRecordError);
      expect(() => kind.decode(encodeRecord(1, { contentId: 'text', deletedMs: -0.5 }))).toThrow(
        CorruptRecordError,
      );
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 60 }), (noise) => {
          try {
            kind.decode(Uint8Array.of(1, ...noise));
          } catch (error) {
            expect(error).toBeInstanceOf(CorruptRecordError);
          }
        }),
      );
    },
  );
});
