import { AuthError } from './errors.ts';
import type { ChunkSigning, PayloadCheck, SignedRequest } from './request.ts';

const unsignedPayload = 'UNSIGNED-PAYLOAD';
const sha256 = /^[0-9a-fA-F]{64}$/;

type Headers = SignedRequest['headers'];

/** The members of a comma-separated list header, in lower case. */
function listMembers(headers: Headers, name: string): string[] {
  return (headers.get(name) ?? [])
    .flatMap((value) => value.split(','))
    .map((member) => member.trim().toLowerCase())
    .filter((member) => member !== '');
}

/** The payload's size before chunking, from `x-amz-decoded-content-length`. */
function decodedSize(headers: Headers): number | undefined {
  const values = headers.get('x-amz-decoded-content-length');
  if (values === undefined) return undefined;
  const [text = ''] = values;
  if (values.length !== 1 || !/^\d{1,15}$/.test(text.trim())) {
    throw new AuthError('InvalidArgument', 'x-amz-decoded-content-length must be one number of bytes.', {
      ArgumentName: 'x-amz-decoded-content-length',
    });
  }
  return Number(text);
}

function chunked(headers: Headers, options: { trailer: boolean; signing?: ChunkSigning }): PayloadCheck {
  const decodedSizeBytes = decodedSize(headers);
  return {
    kind: 'chunked',
    trailer: options.trailer,
    ...(options.signing === undefined ? {} : { signing: options.signing }),
    ...(options.trailer ? { trailerNames: listMembers(headers, 'x-amz-trailer') } : {}),
    ...(decodedSizeBytes === undefined ? {} : { decodedSizeBytes }),
  };
}

/**
 * Whether an unsigned body is framed all the same. The encoding alone doesn't say so: clients may set it themselves
 * and send their bytes as they are.
 */
function isFramed(headers: Headers): boolean {
  return (
    listMembers(headers, 'content-encoding').includes('aws-chunked') &&
    (headers.has('x-amz-decoded-content-length') || headers.has('x-amz-trailer'))
  );
}

function requireSigning(signing: ChunkSigning | undefined): ChunkSigning {
  if (signing !== undefined) return signing;
  throw new AuthError('InvalidRequest', 'Signed chunks need a request signed in its Authorization header.');
}

/**
 * How to check a payload, from the value of `x-amz-content-sha256`.
 *
 * Without a value (anonymous and presigned requests only) the payload is unsigned. Some clients frame it even then,
 * which shows in its other headers: taken as it is, the framing would become part of the object.
 *
 * @throws AuthError `InvalidArgument` for a value that is none of S3's, `InvalidRequest` for signed chunks that
 * have nothing to start their chain from.
 */
export function payloadCheck(
  headers: Headers,
  options: { contentSha256: string | undefined; signing?: ChunkSigning },
): PayloadCheck {
  const { contentSha256, signing } = options;
  switch (contentSha256) {
    case undefined:
    case unsignedPayload:
      return isFramed(headers)
        ? chunked(headers, { trailer: headers.has('x-amz-trailer') })
        : { kind: 'unsigned' };
    case 'STREAMING-UNSIGNED-PAYLOAD-TRAILER':
      return chunked(headers, { trailer: true });
    case 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD':
      return chunked(headers, { trailer: false, signing: requireSigning(signing) });
    case 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER':
      return chunked(headers, { trailer: true, signing: requireSigning(signing) });
    default:
      if (sha256.test(contentSha256)) return { kind: 'sha256', hex: contentSha256.toLowerCase() };
      throw new AuthError(
        'InvalidArgument',
        'x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, ' +
          'STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.',
        { ArgumentName: 'x-amz-content-sha256' },
      );
  }
}
