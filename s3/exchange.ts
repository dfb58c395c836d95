import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AccountDirectory, Credential, CredentialStore } from '../auth/credentials.ts';
import type { PayloadCheck } from '../auth/request.ts';
import type { Backend, Bucket, Owner } from '../backend/backend.ts';
import type { Checksums } from '../backend/checksums/checksums.ts';
import type { Policies } from './access/policies.ts';
import type { ClientBody } from './http/client_body.ts';
import type { RequestHeaders } from './http/headers.ts';
import type { Query } from './http/query.ts';
import type { RawTarget } from './http/target.ts';
import type { S3Limits } from './limits.ts';
import type { S3Logger, S3Metrics } from './observe.ts';
import type { Resource } from './resource.ts';

/** Everything that the operations need and that doesn't change from request to request. */
export interface Services {
  readonly backend: Backend;
  readonly credentials: CredentialStore;
  readonly accounts: AccountDirectory;
  readonly policies: Policies;
  readonly region: string;
  /** Virtual-host style buckets below it; undefined or empty: path style only. */
  readonly domain?: string | undefined;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  readonly logger: S3Logger;
  readonly metrics?: S3Metrics | undefined;
  readonly accessLog?: RequestLog | undefined;
  readonly limits: S3Limits;
  /** Whether clients may send keys of theirs over plain HTTP: only where something in front of it speaks TLS. */
  readonly customerKeysOverHttp: boolean;
  /** Types of the destinations that events may go to, by name. */
  readonly notifications: ReadonlyMap<string, string>;
  /** Loaded when first needed. */
  readonly checksums: () => Promise<Checksums>;
}

export type Caller =
  | { readonly kind: 'anonymous' }
  | {
      readonly kind: 'signed';
      readonly credential: Credential;
      readonly owner: Owner;
      readonly presigned: boolean;
      /** What policies call it. */
      readonly authType: 'REST-HEADER' | 'REST-QUERY-STRING' | 'POST';
      readonly signedAtMs: number;
    };

/** One request that has been taken apart and authenticated: what an operation works on. */
export interface Call {
  readonly services: Services;
  readonly requestId: string;
  readonly method: string;
  /** `https` or `http`, as the client sees it. */
  readonly scheme: string;
  /** Of the connection's other end; undefined in process. */
  readonly remoteAddress: string | undefined;
  readonly headers: RequestHeaders;
  readonly query: Query;
  readonly bucket: string;
  readonly key: string;
  readonly caller: Caller;
  readonly payload: PayloadCheck;
  readonly body: ClientBody;
  readonly access: AccessNotes;
  /** Aborts when the client vanishes. */
  readonly signal: AbortSignal;
}

/** What access logs tell of a request and only its operation comes to know. */
export interface AccessNotes {
  /** The bucket of the request's address, as it was when access was decided. */
  bucket?: Bucket;
  /** It was allowed by an ACL alone. */
  aclRequired?: boolean;
  /** What a copy reads. */
  source?: { readonly bucket: Bucket; readonly key: string; readonly versionId: string | undefined };
  /** Key by key, what became of a deletion of many. */
  deletions?: readonly {
    readonly key: string;
    readonly versionId: string | undefined;
    readonly status: number;
    readonly errorCode: string | undefined;
  }[];
}

/** What the middlewares find out about a request, step by step, and what the log says about it in the end. */
export interface Exchange {
  readonly requestId: string;
  readonly startedMs: number;
  readonly method: string;
  readonly target: RawTarget;
  readonly scheme: string;
  readonly remoteAddress: string | undefined;
  headers: RequestHeaders;
  readonly body: ClientBody;
  readonly signal: AbortSignal;
  readonly expectsContinue: boolean;
  resource?: Resource;
  query?: Query;
  caller?: Caller;
  payload?: PayloadCheck;
  operation?: string;
  /** What `<Code>` of a refusal said. */
  errorCode?: string;
  /** Headers that the answer carries whatever it is. */
  answerHeaders?: Readonly<Record<string, string>>;
  status: number;
  /** The answer's headers. */
  answer?: Readonly<Record<string, string>>;
  readonly access: AccessNotes;
  sentBytes: number;
  /** An answer that began and couldn't be finished. */
  broken: boolean;
  /** Run once, when the last byte of the answer is out or given up. */
  readonly onSettled: (() => void)[];
}

/** Where answered requests are noted for the owners of their buckets. Called synchronously; never waits. */
export interface RequestLog {
  note(exchange: Exchange, durationMs: number): void;
}

/** Hono's view of the above. In process there is no `incoming`. */
export interface S3Env {
  Bindings: {
    readonly incoming?: IncomingMessage;
    readonly outgoing?: ServerResponse;
    /** The request target as it stood in the request line. */
    readonly target?: string;
    readonly expectsContinue?: boolean;
    /** The server is closing: answers end their connections. */
    readonly draining?: () => boolean;
  };
  Variables: { exchange: Exchange };
}
