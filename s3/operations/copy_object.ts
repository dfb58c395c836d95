import type { ObjectMetadata, ObjectSource } from '../../backend/backend.ts';
import { BackendError } from '../../backend/errors.ts';
import { decideOwnership } from '../access/ownership.ts';
import { authorizeSource, signedOwner } from '../authorization.ts';
import { S3Error } from '../errors.ts';
import type { Call } from '../exchange.ts';
import { expirationHeader, quoted } from '../http/answer_headers.ts';
import { awakeXmlReply } from '../http/awake_reply.ts';
import type { Operation } from '../operation.ts';
import { headerAcl } from '../request/acl_request.ts';
import { checksumElements, parseAlgorithm } from '../request/checksums.ts';
import { typeOfKey } from '../request/content_type.ts';
import { copySource } from '../request/copy_source.ts';
import {
  encryptionHeaders,
  encryptionRequest,
  refusedToTheAuthorized,
  transportOf,
} from '../request/encryption.ts';
import { readMetadata } from '../request/metadata.ts';
import { originOf } from '../request/origin.ts';
import { objectMarks } from '../request/object_marks.ts';
import { given } from '../request/parameters.ts';
import { writePreconditions } from '../request/preconditions.ts';
import { refuseUnsupportedFeatures } from '../request/unsupported.ts';
import { element, isoTime, root } from '../xml/write.ts';

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html */
export const copyObject: Operation = {
  name: 'CopyObject',
  async handle(call) {
    refuseUnsupportedFeatures(call.headers);
    const owner = signedOwner(call);
    const asked = await headerAcl(call.headers, call.services.accounts);
    const newTags = checkDirective(call, 'x-amz-tagging-directive') === 'REPLACE';
    const { source, encryption } = await refusedToTheAuthorized(call, 's3:PutObject', () => ({
      source: newTags ? copySource(call) : withTags(call, copySource(call)),
      encryption: encryptionRequest(call.headers, transportOf(call)),
    }));
    const metadata = newMetadata(call);
    const unchanged = metadata === undefined && encryption === undefined;
    const isItself =
      source.bucket === call.bucket && source.key === call.key && source.versionId === undefined;
    if (isItself && unchanged && !call.headers.has('x-amz-storage-class')) {
      throw new S3Error(
        'InvalidRequest',
        "This copy request is illegal because it is trying to copy an object to itself without changing the object's " +
          'metadata, storage class, website redirect location or encryption attributes.',
      );
    }
    const algorithm = call.headers.get('x-amz-checksum-algorithm');
    const copying = call.services.backend.copyObject({
      bucket: call.bucket,
      key: call.key,
      owner,
      ownership: decideOwnership(call.caller, asked),
      source,
      ...objectMarks(call, { action: 's3:PutObject', ignoreTags: !newTags }),
      ...(newTags && !call.headers.has('x-amz-tagging') ? { tags: new Map() } : {}),
      origin: originOf(call),
      signal: call.signal,
      ...given('storageClass', call.headers.get('x-amz-storage-class')),
      ...given('metadata', metadata),
      ...given('checksumAlgorithm', algorithm === undefined ? undefined : parseAlgorithm(algorithm)),
      ...given('preconditions', writePreconditions(call.headers)),
      ...given('encryption', encryption),
    });
    return awakeXmlReply(call, asCopyRefusal(copying), (written) => ({
      headers: {
        ...encryptionHeaders(written.encryption, call.headers),
        ...given('x-amz-version-id', written.versionId),
        ...expirationHeader(written.expiration),
        ...given('x-amz-copy-source-version-id', written.sourceVersionId),
      },
      root: root(
        'CopyObjectResult',
        element('LastModified', isoTime(written.lastModifiedMs)),
        element('ETag', quoted(written.etag)),
        checksumElements(written.checksum),
      ),
    }));
  },
};

/** Who copies tags has to be allowed to read them. */
function withTags(call: Call, source: ObjectSource): ObjectSource {
  const action = source.versionId === undefined ? 's3:GetObjectTagging' : 's3:GetObjectVersionTagging';
  const { key, versionId } = source;
  const check = authorizeSource(call, action, { key, versionId });
  return {
    ...source,
    authorize: (bucket, object) => {
      source.authorize(bucket, object);
      if (object?.tags !== undefined && object.tags.size > 0) check(bucket, object);
    },
  };
}

/** A source that wasn't modified is a failed precondition here, since nothing is being read into a cache. */
export async function asCopyRefusal<T>(copying: Promise<T>): Promise<T> {
  try {
    return await copying;
  } catch (error) {
    if (error instanceof BackendError && error.code === 'NotModified')
      throw new S3Error('PreconditionFailed');
    throw error;
  }
}

/** @throws S3Error InvalidArgument for a directive that S3 doesn't know. */
function newMetadata(call: Call): ObjectMetadata | undefined {
  if (checkDirective(call, 'x-amz-metadata-directive') !== 'REPLACE') return undefined;
  const metadata = readMetadata(call.headers);
  const contentType = metadata.system.contentType ?? typeOfKey(call.key);
  return { ...metadata, system: { ...metadata.system, contentType } };
}

function checkDirective(call: Call, header: string): string | undefined {
  const directive = call.headers.get(header);
  if (directive === undefined || directive === 'COPY' || directive === 'REPLACE') return directive;
  throw new S3Error('InvalidArgument', `Unknown ${header.replace('x-amz-', '').replace('-', ' ')}.`, {
    ArgumentName: header,
    ArgumentValue: directive,
  });
}
