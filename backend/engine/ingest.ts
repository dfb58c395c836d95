import { createHash, createHmac } from 'node:crypto';
import type { ChecksumAlgorithm, IncomingBody } from '../backend.ts';
import { CHECKSUM_BYTES, type Checksummer, type Checksums } from '../checksums/checksums.ts';
import type { ContentId, DataStore, WriteContentOptions } from '../data_store.ts';
import type { VaultWritten } from '../frames/vault.ts';
import type { SseRow } from '../encryption/sse_row.ts';
import type { Protection } from './protection.ts';
import type { EngineContext } from './context.ts';
import { refuse } from './context.ts';

const md5Bytes = 16;

/** S3's limit for one PUT and for one part. */
export const maxSinglePutBytes = 5 * 1024 ** 3;

/** Content that is durable but that no metadata names yet. */
export interface IngestedContent {
  readonly contentId: Uint8Array;
  readonly written: VaultWritten;
  readonly sizeBytes: number;
  /**
   * What the ETag is made of: the content's MD5, or a keyed digest of that where the content is under a key that not
   * everybody who may list objects has (SSE-C, SSE-KMS).
   */
  readonly md5: Uint8Array;
  /** What its object says of its encryption. */
  readonly sse?: SseRow;
  /** Raw, of each algorithm that was asked for or checked. */
  readonly checksums: ReadonlyMap<ChecksumAlgorithm, Uint8Array>;
}

interface IngestRequest {
  readonly contentId: Uint8Array;
  readonly body: IncomingBody;
  /** Computed beside the one that the client claims. */
  readonly algorithms: readonly ChecksumAlgorithm[];
  readonly storageClass?: string;
  readonly signal?: AbortSignal | undefined;
}

/** Streams a body into the vault, protected as said. @throws as `ingest` */
export async function ingestProtected(
  context: EngineContext,
  request: IngestRequest & { readonly protection: Protection },
): Promise<IngestedContent> {
  const { sse, seal, etagKey } = request.protection;
  const data = {
    write: (id: ContentId, body: AsyncIterable<Uint8Array>, options: WriteContentOptions) =>
      context.vault.write(id, body, { ...options, ...seal }),
  };
  const content = await ingest({ checksums: context.checksums, data }, request);
  if (sse === undefined) return content;
  if (etagKey === undefined) return { ...content, sse };
  const tag = createHmac('sha256', etagKey).update(content.md5).digest().subarray(0, md5Bytes);
  return { ...content, sse, md5: new Uint8Array(tag) };
}

/**
 * Streams a body into the data store, hashing on the way. All that the client said of it is verified before the
 * data store is told that it is whole, so content that isn't what was announced is never kept.
 * @throws BackendError BadDigest, IncompleteBody, EntityTooLarge, InvalidRequest
 */
export async function ingest(
  context: { readonly checksums: Checksums; readonly data: Pick<DataStore, 'write'> },
  request: IngestRequest,
): Promise<IngestedContent> {
  const { body, contentId } = request;
  if (body.sizeBytes !== undefined && body.sizeBytes > maxSinglePutBytes) refuseTooLarge(body.sizeBytes);
  const algorithms = new Set(request.algorithms);
  if (body.checksum !== undefined) algorithms.add(body.checksum.algorithm);
  const check = new BodyCheck(
    body,
    [...algorithms].map((algorithm) => context.checksums.create(algorithm)),
  );
  const written = await context.data.write(contentId, check.pass(), {
    ...(body.sizeBytes === undefined ? {} : { sizeBytes: body.sizeBytes }),
    ...(request.storageClass === undefined ? {} : { storageClass: request.storageClass }),
    ...(request.signal === undefined ? {} : { signal: request.signal }),
  });
  const content = check.verified;
  if (content === undefined || written.sizeBytes !== content.sizeBytes) {
    throw new Error(
      `the data store kept ${written.sizeBytes} bytes of a body that it did not read to its end`,
    );
  }
  return { contentId, written, ...content };
}

/** Removes content that lost: nothing names it. What can't be removed now is left to the data store's own audit. */
export async function discard(context: EngineContext, content: IngestedContent): Promise<void> {
  try {
    await context.data.remove(content.written.locator);
  } catch (error) {
    const id = Buffer.from(content.contentId).toString('hex');
    context.logger.warn({ err: error, contentId: id }, 'content without metadata could not be removed');
  }
}

type VerifiedContent = Pick<IngestedContent, 'sizeBytes' | 'md5' | 'checksums'>;

class BodyCheck {
  verified: VerifiedContent | undefined;
  readonly #body: IncomingBody;
  readonly #summers: readonly Checksummer[];

  constructor(body: IncomingBody, summers: readonly Checksummer[]) {
    this.#body = body;
    this.#summers = summers;
  }

  async *pass(): AsyncGenerator<Uint8Array> {
    const md5 = createHash('md5');
    const announcedBytes = this.#body.sizeBytes;
    let sizeBytes = 0;
    for await (const piece of this.#body.stream) {
      if (piece.length === 0) continue;
      sizeBytes += piece.length;
      if (sizeBytes > maxSinglePutBytes) refuseTooLarge(sizeBytes);
      if (announcedBytes !== undefined && sizeBytes > announcedBytes) refuseIncomplete();
      md5.update(piece);
      for (const summer of this.#summers) summer.update(piece);
      yield piece;
    }
    if (announcedBytes !== undefined && sizeBytes !== announcedBytes) refuseIncomplete();
    const content = {
      sizeBytes,
      md5: new Uint8Array(md5.digest()),
      checksums: new Map(this.#summers.map((summer) => [summer.algorithm, summer.digest()])),
    };
    this.#verify(content);
    this.verified = content;
  }

  #verify(content: VerifiedContent): void {
    const { contentMd5, checksum } = this.#body;
    if (contentMd5 !== undefined && Buffer.compare(contentMd5, content.md5) !== 0) {
      refuse('BadDigest', 'The Content-MD5 you specified did not match what we received.', {
        ExpectedDigest: Buffer.from(contentMd5).toString('base64'),
        CalculatedDigest: Buffer.from(content.md5).toString('base64'),
      });
    }
    const claimed = checksum?.value();
    if (checksum === undefined || claimed === undefined) return;
    const { algorithm } = checksum;
    const computed = content.checksums.get(algorithm);
    const expected = Buffer.from(claimed, 'base64');
    if (expected.length !== CHECKSUM_BYTES[algorithm] || expected.toString('base64') !== claimed) {
      refuse('InvalidRequest', `Value for x-amz-checksum-${algorithm.toLowerCase()} header is invalid.`);
    }
    if (computed === undefined || Buffer.compare(computed, expected) !== 0) {
      refuse('BadDigest', `The ${algorithm} you specified did not match the calculated checksum.`);
    }
  }
}

function refuseTooLarge(sizeBytes: number): never {
  return refuse('EntityTooLarge', 'Your proposed upload exceeds the maximum allowed size', {
    ProposedSize: String(sizeBytes),
    MaxSizeAllowed: String(maxSinglePutBytes),
  });
}

function refuseIncomplete(): never {
  return refuse(
    'IncompleteBody',
    'You did not provide the number of bytes specified by the Content-Length HTTP header',
  );
}
