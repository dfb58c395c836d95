import { LogClosedError, LogFailedError, LogFullError, WalError, type WalErrorCode } from '../wal/errors.ts';
import {
  ShardDamagedError,
  ShardInvalidError,
  ShardNotFoundError,
  StoreClosedError,
} from '../wal/shard_errors.ts';
import type { ShardKey } from '../wal/shard_storage.ts';
import { TransportError } from './errors.ts';

/** An error of the store in the form in which it travels: its code and message. Others stay as they are. */
export function toRemote(error: unknown): unknown {
  if (!(error instanceof WalError)) return error;
  return new TransportError('remote', error.message, { remoteCode: error.code, cause: error });
}

interface RemoteFailure {
  readonly shard: ShardKey | undefined;
  readonly message: string;
  readonly cause: TransportError;
}

type MakeError = (failure: RemoteFailure) => WalError;

/** What a shard store throws, so what its client throws; a code that isn't here stays a TransportError `remote`. */
const byCode: Partial<Record<WalErrorCode, MakeError>> = {
  shard_not_found: ({ shard, message }) =>
    shard === undefined ? new WalError('shard_not_found', message) : new ShardNotFoundError(shard),
  shard_damaged: ({ shard, message, cause }) =>
    shard === undefined
      ? new WalError('shard_damaged', message, { cause })
      : new ShardDamagedError(shard, message.replace(/^.* is damaged: /, ''), { cause }),
  shard_invalid: ({ message }) => new ShardInvalidError(message),
  log_full: ({ message, cause }) => new LogFullError(message, { cause }),
  log_failed: ({ message, cause }) => new LogFailedError(message, { cause }),
  log_busy: ({ message, cause }) => new WalError('log_busy', message, { cause }),
  log_closed: () => new LogClosedError(),
  store_closed: () => new StoreClosedError(),
  index_damaged: ({ message, cause }) => new WalError('index_damaged', message, { cause }),
};

function isKnown(code: string): code is WalErrorCode {
  return Object.hasOwn(byCode, code);
}

/** The store's own error again, where that is what the other side reports. */
export function fromRemote(error: unknown, shard?: ShardKey): unknown {
  if (!(error instanceof TransportError) || error.code !== 'remote') return error;
  const { remoteCode, message } = error;
  if (remoteCode === undefined || !isKnown(remoteCode)) return error;
  return byCode[remoteCode]?.({ shard, message, cause: error }) ?? error;
}
