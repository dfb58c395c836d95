import type { Credential } from './credentials.ts';

/** What of a request a signature covers. */
export interface SignedRequest {
  readonly method: string;
  /** The raw request target's path, as sent: nothing decoded, no dots resolved. */
  readonly rawPath: string;
  /** The raw query, without `?`. */
  readonly rawQuery: string;
  /** Names in lower case; repeated headers in order. */
  readonly headers: ReadonlyMap<string, readonly string[]>;
}

/** Who asks, and how the payload is to be checked while it is read. */
export type Authenticated =
  | { readonly kind: 'anonymous'; readonly payload: PayloadCheck }
  | {
      readonly kind: 'signed';
      readonly credential: Credential;
      readonly presigned: boolean;
      /** When, by the client's word; milliseconds since the epoch. */
      readonly signedAtMs: number;
      readonly payload: PayloadCheck;
    };

/** From `x-amz-content-sha256`. The `chunked` forms carry what their chunks and trailers are signed with. */
export type PayloadCheck =
  | { readonly kind: 'unsigned' }
  | { readonly kind: 'sha256'; readonly hex: string }
  | {
      readonly kind: 'chunked';
      readonly trailer: boolean;
      readonly signing?: ChunkSigning;
      /** The trailers `x-amz-trailer` announces, in lower case: no other is accepted and none may be missing. */
      readonly trailerNames?: readonly string[];
      /** From `x-amz-decoded-content-length`: the payload's exact size. */
      readonly decodedSizeBytes?: number;
    };

export interface ChunkSigning {
  readonly signingKey: Uint8Array;
  /** `yyyymmddThhmmssZ` of the seed. */
  readonly timestamp: string;
  /** `date/region/service/aws4_request` */
  readonly scope: string;
  /** Hex; the request's own signature, with which the chain starts. */
  readonly seedSignature: string;
}
