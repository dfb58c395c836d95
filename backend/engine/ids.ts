import { createHash } from 'node:crypto';
import type { EngineContext } from './context.ts';

const idBytes = 16;

/**
 * 16 bytes that nobody has used: 48 bits of time, so that ids sort by age, then 80 random bits. Names buckets,
 * versions and uploads.
 */
export function mintId(context: Pick<EngineContext, 'clock' | 'randomBytes'>): Uint8Array {
  const id = Buffer.alloc(idBytes);
  id.writeUIntBE(Math.max(0, Math.floor(context.clock())), 0, 6);
  id.set(context.randomBytes(idBytes - 6), 6);
  return new Uint8Array(id);
}

/** SHA-256 over length-prefixed bucket, key and unique id: the name of one write's content, never used again. */
export function contentIdOf(bucket: string, key: string, uniqueId: Uint8Array): Uint8Array {
  const hash = createHash('sha256');
  for (const piece of [Buffer.from(bucket, 'utf8'), Buffer.from(key, 'utf8'), uniqueId]) {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(piece.length);
    hash.update(length).update(piece);
  }
  return new Uint8Array(hash.digest());
}

/** The id of a version that is made at `mtimeMs`: the time, by which its row is found, then 80 random bits. */
export function mintVersionId(context: Pick<EngineContext, 'randomBytes'>, mtimeMs: number): string {
  return versionIdAt(mtimeMs, context.randomBytes(idBytes - 6));
}

/** The `null` version of that time, where a listing's marker has to name it. */
export function nullVersionMarker(mtimeMs: number): string {
  return versionIdAt(mtimeMs, new Uint8Array(idBytes - 6));
}

function versionIdAt(mtimeMs: number, unique: Uint8Array): string {
  const id = Buffer.alloc(idBytes);
  id.writeUIntBE(mtimeMs, 0, 6);
  id.set(unique, 6);
  return id.toString('hex');
}

/** When the version with that id was made; undefined for what this engine never handed out. */
export function timeOfVersionId(text: string): number | undefined {
  return /^[0-9a-f]{32}$/.test(text) ? Number.parseInt(text.slice(0, 12), 16) : undefined;
}

export function uploadIdText(id: Uint8Array): string {
  return Buffer.from(id).toString('hex');
}

/** Undefined for what this engine never handed out. */
export function parseUploadId(text: string): Uint8Array | undefined {
  return /^[0-9a-f]{32}$/.test(text) ? new Uint8Array(Buffer.from(text, 'hex')) : undefined;
}
