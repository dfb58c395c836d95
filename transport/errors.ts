/**
 * Why a call failed, as the caller sees it.
 *
 * - `unreachable`: no connection, or it was lost; whether the handler ran is unknown.
 * - `deadline`: nothing moved for as long as the call allows.
 * - `cancelled`: the caller's signal, or the other side, gave it up.
 * - `refused`: one side couldn't prove that it belongs to the cluster.
 * - `overloaded`: a bound was reached here or there; the handler didn't run.
 * - `protocol`: bytes that mean nothing, or a method nobody serves.
 * - `remote`: the handler failed; `remoteCode` is its own code, `internal` if it had none.
 */
export type TransportErrorCode =
  'unreachable' | 'deadline' | 'cancelled' | 'refused' | 'overloaded' | 'protocol' | 'remote';

interface TransportErrorOptions {
  /** With code `remote`: the handler's code. At most 255 bytes reach the caller. */
  readonly remoteCode?: string;
  readonly cause?: unknown;
}

/** The only error class that `transport/` lets out. */
export class TransportError extends Error {
  readonly code: TransportErrorCode;
  readonly remoteCode: string | undefined;

  constructor(code: TransportErrorCode, message: string, options: TransportErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'TransportError';
    this.code = code;
    this.remoteCode = options.remoteCode;
  }
}

/** The text of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
