import type {
  Checksum,
  IncomingBody,
  PartWritten,
  UploadPartCopyRequest,
  UploadPartRequest,
  UploadRequest,
} from '../backend.ts';
import { commit, CommitUnknownError } from './commit.ts';
import type { EngineContext } from './context.ts';
import { refuse } from './context.ts';
import { ingestFrom, sourceRequest } from './copy_object.ts';
import { makeGarbage } from './current_version.ts';
import { findObject, openObject } from './get_object.ts';
import { contentIdOf, mintId } from './ids.ts';
import { discard, ingestProtected, maxSinglePutBytes, type IngestedContent } from './ingest.ts';
import { checkKey } from './object_keys.ts';
import { checkSourcePreconditions } from './preconditions.ts';
import { checkUploadKey, encryptionField, keyConditions, protectionOfPart } from './protection.ts';
import { partKey } from './row_keys.ts';
import { decodePart, encodeContent, encodePart, type UploadRow } from './rows.ts';
import { rowUnchanged } from './targets.ts';
import { readUpload, uploadUnchanged, type UploadTarget } from './uploads.ts';

const maxPartNumber = 10_000;

export async function uploadPart(context: EngineContext, request: UploadPartRequest): Promise<PartWritten> {
  checkKey(request.key);
  checkPartNumber(request.partNumber);
  const target = await readUpload(context, request);
  checkAlgorithm(target.upload.row, request.body);
  return writePart(context, request, { target, body: request.body });
}

export async function uploadPartCopy(
  context: EngineContext,
  request: UploadPartCopyRequest,
): Promise<PartWritten> {
  checkKey(request.key);
  checkPartNumber(request.partNumber);
  const target = await readUpload(context, request);
  checkUploadKey(target.upload.row.sse, request.customerKey);
  const source = sourceRequest(request.source, request.signal);
  const { range } = request;
  const { head } = await findObject(context, source, checkSourcePreconditions);
  if (range !== undefined && (range.start > range.end || range.end >= head.sizeBytes)) {
    refuse('InvalidRange', `Range specified is not valid for source object of size: ${head.sizeBytes}`);
  }
  const sizeBytes = range === undefined ? head.sizeBytes : range.end - range.start + 1;
  if (sizeBytes > maxSinglePutBytes) {
    refuse(
      'InvalidRequest',
      `The specified copy source is larger than the maximum allowable size for a copy source: ${maxSinglePutBytes}`,
    );
  }
  const { found, body } = await openObject(
    context,
    range === undefined ? source : { ...source, range },
    checkSourcePreconditions,
  );
  const answered = found.head.range ?? { start: 0, end: found.head.sizeBytes - 1 };
  return ingestFrom(body, (stream) =>
    writePart(context, request, {
      target,
      body: { stream, sizeBytes: answered.end - answered.start + 1 },
    }),
  );
}

async function writePart(
  context: EngineContext,
  request: UploadRequest & { readonly partNumber: number; readonly customerKey?: Uint8Array },
  part: { readonly target: UploadTarget; readonly body: IncomingBody },
): Promise<PartWritten> {
  const { uploadId, upload } = part.target;
  const algorithm = upload.row.checksum.algorithm;
  const { sse, metadata } = upload.row;
  const content = await ingestProtected(context, {
    contentId: contentIdOf(request.bucket, request.key, mintId(context)),
    body: part.body,
    algorithms: [algorithm],
    storageClass: upload.row.storageClass,
    protection: protectionOfPart(context, { name: request, sse, metadata, customerKey: request.customerKey }),
    signal: request.signal,
  });
  const key = partKey(uploadId, request.partNumber);
  try {
    request.signal?.throwIfAborted();
    const mtimeMs = await commit(context, async (round) => {
      const target = round === 0 ? part.target : await readUpload(context, request);
      return proposePart(context, { target, key, content, round });
    });
    context.wakeGarbage();
    return {
      etag: Buffer.from(content.md5).toString('hex'),
      lastModifiedMs: mtimeMs,
      ...encryptionField(sse),
      ...checksumOf(content, part.body.checksum?.algorithm ?? algorithm),
    };
  } catch (error) {
    if (!(error instanceof CommitUnknownError)) await discard(context, content);
    throw error;
  }
}

/** The row of the part, and a content row of its own, in place of the part that had the number before. */
async function proposePart(
  context: EngineContext,
  part: {
    readonly target: UploadTarget;
    readonly key: Uint8Array;
    readonly content: IngestedContent;
    readonly round: number;
  },
) {
  const { target, key, content, round } = part;
  const { locator, sealed } = content.written;
  const bytes = await context.state.get('parts', key);
  const previous = bytes === undefined ? undefined : { key, bytes, row: decodePart(bytes) };
  const nowMs = Math.floor(context.clock());
  const mtimeMs = previous === undefined ? nowMs : Math.max(nowMs, previous.row.mtimeMs + 1);
  const checksum = content.checksums.get(target.upload.row.checksum.algorithm);
  if (checksum === undefined) throw new Error('the part was not checksummed as its upload asks');
  return {
    conditions: [
      ...uploadUnchanged(target),
      rowUnchanged('parts', key, previous),
      ...(await keyConditions(context, content.written, round)),
    ],
    contentConditions: content.written.conditions,
    operations: [
      {
        type: 'put' as const,
        table: 'parts',
        key,
        value: encodePart({
          contentId: content.contentId,
          sizeBytes: content.sizeBytes,
          md5: content.md5,
          checksum,
          mtimeMs,
        }),
      },
      {
        type: 'put' as const,
        table: 'objects',
        key: content.contentId,
        value: encodeContent({
          sizeBytes: content.sizeBytes,
          locator,
          ...(sealed === undefined ? {} : { sealed }),
        }),
      },
      ...(previous === undefined ? [] : [makeGarbage(context, previous.row.contentId)]),
      ...content.written.operations,
    ],
    result: mtimeMs,
  };
}

function checksumOf(
  content: IngestedContent,
  algorithm: Checksum['algorithm'],
): { readonly checksum?: Checksum } {
  const raw = content.checksums.get(algorithm);
  if (raw === undefined) return {};
  return { checksum: { algorithm, type: 'FULL_OBJECT', value: Buffer.from(raw).toString('base64') } };
}

/** A part may bring a checksum of its own choice only where the upload chose none. */
function checkAlgorithm(upload: UploadRow, body: IncomingBody): void {
  const algorithm = body.checksum?.algorithm;
  if (algorithm === undefined || !upload.checksumChosen || algorithm === upload.checksum.algorithm) return;
  refuse(
    'InvalidRequest',
    `Checksum Type mismatch occurred, expected checksum Type: ${upload.checksum.algorithm.toLowerCase()}, actual checksum Type: ${algorithm.toLowerCase()}`,
  );
}

function checkPartNumber(partNumber: number): void {
  if (Number.isInteger(partNumber) && partNumber >= 1 && partNumber <= maxPartNumber) return;
  refuse('InvalidArgument', `Part number must be an integer between 1 and ${maxPartNumber}, inclusive`, {
    ArgumentName: 'partNumber',
    ArgumentValue: String(partNumber),
  });
}
