import type { ObjectExpiration, ObjectHead } from '../../backend/backend.ts';
import { writeChecksum } from '../request/checksums.ts';
import { writeLock } from '../request/object_lock.ts';
import { writeMetadata } from '../request/metadata.ts';

/** `"etag"` */
export function quoted(etag: string): string {
  return `"${etag}"`;
}

/** The headers of GetObject and HeadObject but for Content-Length. */
export function objectHeaders(
  object: ObjectHead,
  options: { readonly checksum: boolean; readonly part: boolean },
): Record<string, string> {
  const headers: Record<string, string> = {
    'accept-ranges': 'bytes',
    'last-modified': new Date(object.lastModifiedMs).toUTCString(),
    etag: quoted(object.etag),
  };
  writeMetadata(object.metadata, headers);
  if (object.versionId !== undefined) headers['x-amz-version-id'] = object.versionId;
  if (object.storageClass !== 'STANDARD') headers['x-amz-storage-class'] = object.storageClass;
  if (object.tags !== undefined) headers['x-amz-tagging-count'] = String(object.tags.size);
  writeLock(object.lock, headers);
  Object.assign(headers, expirationHeader(object.expiration));
  if (object.range !== undefined) {
    headers['content-range'] = `bytes ${object.range.start}-${object.range.end}/${object.sizeBytes}`;
  }
  if (options.part && object.partsCount !== undefined) {
    headers['x-amz-mp-parts-count'] = String(object.partsCount);
  }
  // A checksum of the whole object beside a range of its bytes would make clients refuse good data; of a part asked
  // for by its number it is the part's own.
  if (options.checksum && (object.range === undefined || options.part))
    writeChecksum(object.checksum, headers);
  return headers;
}

/** `x-amz-expiration`, where a lifecycle rule will delete the object. */
export function expirationHeader(expiration: ObjectExpiration | undefined): Record<string, string> {
  if (expiration === undefined) return {};
  const { atMs, ruleId } = expiration;
  return {
    'x-amz-expiration': `expiry-date="${new Date(atMs).toUTCString()}", rule-id="${encodeURIComponent(ruleId)}"`,
  };
}

/** Bytes of body that go with the headers. */
export function answeredBytes(object: ObjectHead): number {
  return object.range === undefined ? object.sizeBytes : object.range.end - object.range.start + 1;
}
