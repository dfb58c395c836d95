import assert from 'node:assert';
import { createHash } from 'node:crypto';
import { ChunkDecoder } from './chunk_decoder.ts';
import { AuthError } from './errors.ts';
import type { PayloadCheck } from './request.ts';

/** What else is known about a payload. */
export interface PayloadLimits {
  /**
   * The payload's exact size in bytes, without framing. Default: the check's `decodedSizeBytes`; without either any
   * size is let through.
   */
  readonly sizeBytes?: number;
}

/** A payload on its way in. */
interface DecodedPayload {
  /**
   * The payload without framing, as views of the source's pieces. It can be read once. **Bytes come out before they
   * are verified: nothing of it counts until the stream has ended without an error.**
   */
  readonly stream: AsyncIterable<Uint8Array>;
  /** The announced trailers by lower-case name, verified if they are signed. Only to be asked after the end. */
  trailers(): ReadonlyMap<string, string>;
}

const noTrailers: ReadonlyMap<string, string> = new Map();

/**
 * Takes the framing off a request body and checks it against what the request's signature promised.
 *
 * Pulls from the source only as it is read, holds no more than a line of framing besides the piece in hand, and
 * closes the source when the reader stops early.
 *
 * The stream throws AuthError before its normal end: `XAmzContentSHA256Mismatch`, `SignatureDoesNotMatch`,
 * `IncompleteBody` (cut off, or another size than announced), `InvalidChunkSizeError`, `MalformedTrailerError`,
 * `InvalidRequest` (bytes after the end). Errors of the source pass through as they are.
 */
export function decodePayload(
  source: AsyncIterable<Uint8Array>,
  check: PayloadCheck,
  limits: PayloadLimits = {},
): DecodedPayload {
  switch (check.kind) {
    case 'unsigned':
      return { stream: ofSize(source, limits.sizeBytes), trailers: () => noTrailers };
    case 'sha256':
      return {
        stream: ofSize(verifySha256(source, check.hex), limits.sizeBytes),
        trailers: () => noTrailers,
      };
    case 'chunked': {
      const decoder = new ChunkDecoder(check);
      let ended = false;
      return {
        stream: ofSize(
          dechunk(source, decoder, () => {
            ended = true;
          }),
          limits.sizeBytes ?? check.decodedSizeBytes,
        ),
        trailers() {
          assert(ended, 'trailers are known only once the payload has ended');
          return decoder.trailers;
        },
      };
    }
  }
}

async function* ofSize(
  source: AsyncIterable<Uint8Array>,
  sizeBytes: number | undefined,
): AsyncGenerator<Uint8Array> {
  let seenBytes = 0;
  for await (const piece of source) {
    seenBytes += piece.length;
    if (sizeBytes !== undefined && seenBytes > sizeBytes) throw wrongSize();
    yield piece;
  }
  if (sizeBytes !== undefined && seenBytes !== sizeBytes) throw wrongSize();
}

function wrongSize(): AuthError {
  return new AuthError(
    'IncompleteBody',
    'You did not provide the number of bytes specified by the Content-Length HTTP header',
  );
}

async function* verifySha256(source: AsyncIterable<Uint8Array>, hex: string): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256');
  for await (const piece of source) {
    hash.update(piece);
    yield piece;
  }
  if (hash.digest('hex') !== hex) {
    throw new AuthError(
      'XAmzContentSHA256Mismatch',
      "The provided 'x-amz-content-sha256' header does not match what was computed.",
    );
  }
}

async function* dechunk(
  source: AsyncIterable<Uint8Array>,
  decoder: ChunkDecoder,
  onEnd: () => void,
): AsyncGenerator<Uint8Array> {
  for await (const piece of source) yield* decoder.push(piece);
  decoder.finish();
  onEnd();
}
