/**
 * Requests between nodes, over whatever driver carries them: `http3` (QUIC), `http2` (TLS over TCP), `pipe` (same
 * process). A request has a method, a small header and an optional body stream each way; the memory it may hold is
 * bounded by its credit window, in both directions, whatever the library underneath buffers.
 */

/** A dialed peer. Reconnects by itself; a call made while it is down fails within its deadline. */
export interface Peer {
  readonly id: PeerId;
  readonly state: PeerState;
  /**
   * @throws TransportError with a code: `unreachable`, `deadline`, `cancelled`, `refused` (authentication),
   * `overloaded`, `protocol`, or `remote` carrying the handler's own code and message.
   */
  call(method: string, request: CallRequest, options: CallOptions): Promise<CallResponse>;
  /** Sends and forgets, in order, on the peer's `raft` lane. Drops (and says so by `false`) when the lane's queue is full. */
  notify(method: string, payload: Uint8Array): boolean;
  close(): Promise<void>;
}

/** Which of a node's processes: `node-3`, `db-1`, `gateway-<id>`. */
export type PeerId = string;

/** `suspect` after a second without a sign of life, `down` after five or when the connection is lost. */
export type PeerState = 'up' | 'suspect' | 'down';

export interface CallRequest {
  /** At most 64 KiB. */
  readonly header?: Uint8Array;
  readonly body?: AsyncIterable<Uint8Array>;
}

export interface CallOptions {
  /** Time until the response's header; a body may take longer as long as it moves at least once in this time. */
  readonly deadlineMs: number;
  readonly signal?: AbortSignal;
  /** `small` (default) never waits behind `bulk`. */
  readonly lane?: 'small' | 'bulk';
}

export interface CallResponse {
  readonly header: Uint8Array;
  /** Must be read to its end or returned from (`break` in for-await), else its credit stays taken until the deadline. */
  readonly body: AsyncIterable<Uint8Array>;
}

/** What a server does with a method. Throwing a `TransportError` tells the caller its code; anything else is `internal`. */
export type Handler = (
  call: IncomingCall,
) => Promise<{ readonly header?: Uint8Array; readonly body?: AsyncIterable<Uint8Array> }>;

export interface IncomingCall {
  readonly from: PeerId;
  readonly header: Uint8Array;
  readonly body: AsyncIterable<Uint8Array>;
  /** Aborted when the caller cancels, vanishes or its deadline passes. */
  readonly signal: AbortSignal;
}

/** Methods by name; `notices` are the one-way ones. A name that isn't here is answered `protocol`. */
export interface Handlers {
  readonly calls: Readonly<Record<string, Handler>>;
  readonly notices?: Readonly<Record<string, (from: PeerId, payload: Uint8Array) => void>>;
}

export interface TransportServer {
  readonly host: string;
  readonly port: number;
  close(): Promise<void>;
}
