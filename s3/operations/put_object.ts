import type { IncomingBody, ObjectMetadata } from '../../backend/backend.ts';
import { decideOwnership, writerOf } from '../access/ownership.ts';
import { authorize } from '../authorization.ts';
import type { Call } from '../exchange.ts';
import { expirationHeader, quoted } from '../http/answer_headers.ts';
import { emptyReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import { writeChecksum } from '../request/checksums.ts';
import { headerAcl } from '../request/acl_request.ts';
import { sniffContentType } from '../request/content_type.ts';
import {
  encryptionHeaders,
  encryptionRequest,
  refusedToTheAuthorized,
  transportOf,
} from '../request/encryption.ts';
import { readMetadata } from '../request/metadata.ts';
import { objectMarks } from '../request/object_marks.ts';
import { objectBody } from '../request/object_body.ts';
import { originOf } from '../request/origin.ts';
import { given } from '../request/parameters.ts';
import { writePreconditions } from '../request/preconditions.ts';
import { refuseUnsupportedFeatures } from '../request/unsupported.ts';

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html */
export const putObject: Operation = {
  name: 'PutObject',
  async handle(call) {
    const { headers } = await storeObject(call, () => objectBody(call));
    return emptyReply(200, headers);
  },
};

/**
 * What PutObject and the upload of a form have in common.
 * @param bodyOf asked once everything else is known to be right.
 */
export async function storeObject(
  call: Call,
  bodyOf: () => IncomingBody,
): Promise<{ readonly etag: string; readonly headers: Record<string, string> }> {
  refuseUnsupportedFeatures(call.headers);
  const asked = await headerAcl(call.headers, call.services.accounts);
  const preconditions = writePreconditions(call.headers);
  const encryption = await refusedToTheAuthorized(call, 's3:PutObject', () =>
    encryptionRequest(call.headers, transportOf(call)),
  );
  const marks = objectMarks(call, { action: 's3:PutObject' });
  const { metadata, body } = await withContentType(call, {
    metadata: readMetadata(call.headers),
    body: bodyOf(),
  });
  const written = await call.services.backend.putObject({
    bucket: call.bucket,
    key: call.key,
    owner: writerOf(call.caller),
    ownership: decideOwnership(call.caller, asked),
    metadata,
    body,
    ...marks,
    origin: originOf(call),
    signal: call.signal,
    ...given('storageClass', call.headers.get('x-amz-storage-class')),
    ...given('preconditions', preconditions),
    ...given('encryption', encryption),
  });
  const headers: Record<string, string> = {
    etag: quoted(written.etag),
    ...encryptionHeaders(written.encryption, call.headers),
    ...expirationHeader(written.expiration),
  };
  writeChecksum(written.checksum, headers);
  if (written.versionId !== undefined) headers['x-amz-version-id'] = written.versionId;
  return { etag: written.etag, headers };
}

/**
 * Guesses the type of content that came without one. That reads from the client, so where it waits for `100 Continue`
 * the bucket is checked first: a refusal must come before the body is asked for.
 */
async function withContentType(
  call: Call,
  object: { readonly metadata: ObjectMetadata; readonly body: IncomingBody },
): Promise<{ readonly metadata: ObjectMetadata; readonly body: IncomingBody }> {
  const { metadata, body } = object;
  if (metadata.system.contentType !== undefined) return object;
  if (call.headers.has('expect')) {
    await call.services.backend.headBucket({
      bucket: call.bucket,
      authorize: authorize(call, 's3:PutObject'),
      signal: call.signal,
    });
  }
  const { contentType, stream } = await sniffContentType(body.stream, call.key);
  return {
    metadata: { ...metadata, system: { ...metadata.system, contentType } },
    body: { ...body, stream },
  };
}
