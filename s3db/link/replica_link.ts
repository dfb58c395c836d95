import type { ScanPage, ScanRequest } from '../database.ts';

/** One request to the database, checked and, for a batch, encoded. */
export type DatabaseCall =
  | { readonly kind: 'get'; readonly table: string; readonly key: Uint8Array; readonly stale: boolean }
  | { readonly kind: 'scan'; readonly request: ScanRequest; readonly stale: boolean }
  | { readonly kind: 'batch'; readonly body: Uint8Array; readonly requestId: Uint8Array };

/**
 * What a replica made of it. `retry`: it could not carry it out now, another attempt may do better; `mayBeApplied` says
 * whether this one may have come to something, or may yet. Every other kind settles the call.
 */
export type Reply =
  | { readonly kind: 'value'; readonly value: Uint8Array | undefined }
  | { readonly kind: 'page'; readonly page: ScanPage }
  | { readonly kind: 'applied'; readonly index: number }
  | { readonly kind: 'conditionFailed'; readonly condition: number }
  | { readonly kind: 'refused'; readonly error: Error }
  | { readonly kind: 'retry'; readonly mayBeApplied: boolean; readonly reason: string };

export interface Answer {
  readonly reply: Reply;
  /** `host:port` of the leader's REST listener, as the replica that answered knows it. */
  readonly leader: string | undefined;
}

/** The way to one replica. */
export interface ReplicaLink {
  /** `host:port` of its REST listener. */
  readonly name: string;
  /**
   * @param options.timeoutMs what the replica may take; the signal ends the caller's own wait.
   * @throws NotSentError: nothing can have come of it. Anything else leaves open what the replica did.
   */
  send(
    call: DatabaseCall,
    options: { readonly timeoutMs: number; readonly signal: AbortSignal },
  ): Promise<Answer>;
  close(): Promise<void>;
}

/** The request never reached the replica: nothing can have come of it. */
export class NotSentError extends Error {
  override readonly name = 'NotSentError';
}
