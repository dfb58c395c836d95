import type { ListPartsRequest, PartPage } from '../backend.ts';
import type { EngineContext } from './context.ts';
import { checkKey } from './object_keys.ts';
import { scanParts } from './part_rows.ts';
import { readUpload } from './uploads.ts';

const maxPartsPerPage = 1000;

export async function listParts(context: EngineContext, request: ListPartsRequest): Promise<PartPage> {
  checkKey(request.key);
  const { upload, uploadId } = await readUpload(context, request);
  const { owner, initiator = owner, storageClass, checksum, checksumChosen } = upload.row;
  const answer = { owner, initiator, storageClass, ...(checksumChosen ? { checksum } : {}) };
  if (request.maxParts < 1) return { ...answer, parts: [] };
  const limit = Math.min(request.maxParts, maxPartsPerPage);
  const { parts, more } = await scanParts(context, uploadId, { after: request.partNumberMarker, limit });
  const last = parts.at(-1);
  return {
    ...answer,
    parts: parts.map(({ partNumber, row }) => ({
      partNumber,
      etag: Buffer.from(row.md5).toString('hex'),
      sizeBytes: row.sizeBytes,
      lastModifiedMs: row.mtimeMs,
      checksum: {
        algorithm: checksum.algorithm,
        type: checksum.type,
        value: Buffer.from(row.checksum).toString('base64'),
      },
    })),
    ...(more && last !== undefined ? { next: last.partNumber } : {}),
  };
}
