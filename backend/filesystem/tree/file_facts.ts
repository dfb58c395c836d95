import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import type { Checksum, ObjectMetadata } from '../../backend.ts';
import type { Checksums } from '../../checksums/checksums.ts';
import type { GlobalState } from '../../global_state.ts';
import type { Operation } from '../../../s3db/database.ts';
import { decodeRecord, encodeRecord } from '../../engine/record.ts';
import { decodeContent, encodeContent, type ContentRow } from '../../engine/rows.ts';
import { orderedPrefix } from '../../engine/row_keys.ts';

const VERSION = 1;
const readBytes = 1024 * 1024;
/** A file may change again within one tick of its file system's clock: what was just written isn't remembered. */
const settledMs = 2000;
const maxReadings = 3;

/** What tells a state of a file from any other, as far as the file system goes. */
export interface FileStamp {
  readonly inode: bigint;
  readonly sizeBytes: number;
  readonly mtimeNs: bigint;
}

/** What can't be seen from a file's stamp. */
export interface FileFacts {
  readonly etag: string;
  readonly checksum?: Checksum;
  readonly metadata: ObjectMetadata;
  /** Of a multipart object. */
  readonly parts?: ContentRow['parts'];
}

interface KnownFile {
  readonly stamp: FileStamp;
  readonly facts: FileFacts;
  /** False: the file had to be read, so rows of its earlier states may be left. */
  readonly known: boolean;
}

export async function stampOf(file: FileHandle): Promise<FileStamp> {
  const { ino, size, mtimeNs } = await file.stat({ bigint: true });
  return { inode: ino, sizeBytes: Number(size), mtimeNs };
}

export function sameStamp(a: FileStamp, b: FileStamp): boolean {
  return a.inode === b.inode && a.sizeBytes === b.sizeBytes && a.mtimeNs === b.mtimeNs;
}

/** Milliseconds since 1970, whole. */
export function mtimeMsOf(stamp: FileStamp): number {
  return Number(stamp.mtimeNs / 1_000_000n);
}

interface FactsOptions {
  readonly state: GlobalState;
  readonly checksums: Checksums;
  readonly clock: () => number;
  readonly bucket: string;
}

/**
 * Facts by key and stamp. Those of files that were written through the backend are rows; those of other files are
 * read from the file when they are asked for, and then remembered until the file changes.
 */
export class FactsCache {
  readonly #options: FactsOptions;

  constructor(options: FactsOptions) {
    this.#options = options;
  }

  /** A file that changes faster than it can be read gets an ETag of its stamp. */
  async of(key: string, file: FileHandle): Promise<KnownFile> {
    for (let reading = 0; reading < maxReadings; reading++) {
      const stamp = await stampOf(file);
      const known = await this.#read(key, stamp);
      if (known !== undefined) return { stamp, facts: known, known: true };
      const facts = await this.#compute(file, stamp);
      if (!sameStamp(stamp, await stampOf(file))) continue;
      if (mtimeMsOf(stamp) + settledMs < this.#options.clock()) await this.remember(key, stamp, facts);
      return { stamp, facts, known: false };
    }
    const stamp = await stampOf(file);
    const text = `${stamp.inode.toString()}:${stamp.mtimeNs.toString()}:${stamp.sizeBytes}`;
    const etag = createHash('md5').update(text).digest('hex');
    return { stamp, facts: { etag, metadata: { system: {}, user: {} } }, known: false };
  }

  /** Goes in before the file takes its place, so that no file is ever there without what was said of it. */
  async remember(key: string, stamp: FileStamp, facts: FileFacts): Promise<void> {
    await this.#options.state.set('state', this.#rowKey(key, stamp), encodeFacts(facts));
  }

  /** Drops what is known of other states of the key's file; of all where `keep` is not given. */
  async forgetOthers(key: string, keep?: FileStamp): Promise<void> {
    const kept = keep === undefined ? undefined : this.#rowKey(key, keep);
    const operations: Operation[] = [];
    for await (const rowKey of this.#options.state.listKeys('state', this.#keyPrefix(key))) {
      if (kept !== undefined && Buffer.compare(kept, rowKey) === 0) continue;
      operations.push({ type: 'delete', table: 'state', key: rowKey });
    }
    if (operations.length > 0) await this.#options.state.batch({ conditions: [], operations });
  }

  async #read(key: string, stamp: FileStamp): Promise<FileFacts | undefined> {
    const bytes = await this.#options.state.get('state', this.#rowKey(key, stamp));
    return bytes === undefined ? undefined : decodeFacts(bytes);
  }

  async #compute(file: FileHandle, stamp: FileStamp): Promise<FileFacts> {
    const md5 = createHash('md5');
    const crc = this.#options.checksums.create('CRC64NVME');
    const buffer = Buffer.allocUnsafe(readBytes);
    for (let at = 0; at < stamp.sizeBytes;) {
      const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, stamp.sizeBytes - at), at);
      if (bytesRead === 0) break;
      const piece = buffer.subarray(0, bytesRead);
      md5.update(piece);
      crc.update(piece);
      at += bytesRead;
    }
    const value = Buffer.from(crc.digest()).toString('base64');
    return {
      etag: md5.digest('hex'),
      checksum: { algorithm: 'CRC64NVME', type: 'FULL_OBJECT', value },
      metadata: { system: {}, user: {} },
    };
  }

  #keyPrefix(key: string): Uint8Array {
    const { bucket } = this.#options;
    return Buffer.concat([Buffer.from('tree:facts:'), orderedPrefix(bucket, key), Buffer.of(0, 0)]);
  }

  #rowKey(key: string, stamp: FileStamp): Uint8Array {
    const numbers = Buffer.alloc(24);
    numbers.writeBigUInt64BE(BigInt.asUintN(64, stamp.inode), 0);
    numbers.writeBigUInt64BE(BigInt.asUintN(64, stamp.mtimeNs), 8);
    numbers.writeBigUInt64BE(BigInt(stamp.sizeBytes), 16);
    return Buffer.concat([this.#keyPrefix(key), numbers]);
  }
}

/** As the engine's content rows are, in an envelope of its own: there is no locator. */
function encodeFacts(facts: FileFacts): Uint8Array {
  const content = encodeContent({
    sizeBytes: 0,
    metadata: facts.metadata,
    parts: facts.parts ?? [],
    ...(facts.checksum === undefined ? {} : { checksum: facts.checksum }),
  });
  return encodeRecord(VERSION, { etag: facts.etag, content, multipart: facts.parts !== undefined });
}

function decodeFacts(bytes: Uint8Array): FileFacts {
  const fields = decodeRecord(bytes, { kind: 'file facts', newest: VERSION });
  const content = decodeContent(fields.bytes('content'));
  return {
    etag: fields.text('etag'),
    metadata: content.metadata ?? { system: {}, user: {} },
    ...(content.checksum === undefined ? {} : { checksum: content.checksum }),
    ...(fields.boolean('multipart') && content.parts !== undefined ? { parts: content.parts } : {}),
  };
}
