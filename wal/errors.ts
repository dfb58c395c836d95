/** Codes are stable: callers and other nodes may go by them. */
export type WalErrorCode =
  | 'log_locked'
  | 'log_closed'
  | 'log_failed'
  | 'log_full'
  | 'log_busy'
  | 'log_damaged'
  | 'record_invalid'
  | 'record_damaged'
  | 'segment_not_found'
  | 'segment_active'
  | 'stamp_mismatch'
  | 'stamp_missing'
  | 'stamp_damaged'
  | 'shard_invalid'
  | 'shard_not_found'
  | 'shard_damaged'
  | 'index_damaged'
  | 'store_closed';

/** Base of every error that `wal/` throws on purpose. Failed assertions and failed system calls aren't among them. */
export class WalError extends Error {
  readonly code: WalErrorCode;

  constructor(code: WalErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** Another process, or another part of this one, has the directory open. */
export class LogLockedError extends WalError {
  constructor(directory: string, options?: ErrorOptions) {
    super('log_locked', `${directory} is in use by another process`, options);
  }
}

export class LogClosedError extends WalError {
  constructor() {
    super('log_closed', 'the log is closed');
  }
}

/** A write or fsync failed, so what the disk holds is unknown until the next open. `cause` is the system's error. */
export class LogFailedError extends WalError {
  constructor(message: string, options?: ErrorOptions) {
    super('log_failed', message, options);
  }
}

/** No space, or less than the reserve. Nothing of the append is kept; later appends may succeed. */
export class LogFullError extends WalError {
  constructor(message: string, options?: ErrorOptions) {
    super('log_full', message, options);
  }
}

/** More appends wait than the log is willing to queue. */
export class LogBusyError extends WalError {
  constructor(waiting: number) {
    super('log_busy', `${waiting} appends are waiting already`);
  }
}

/** The directory can't be opened as a log: its identity is lost, or files of another log lie in it. */
export class LogDamagedError extends WalError {
  constructor(message: string, options?: ErrorOptions) {
    super('log_damaged', message, options);
  }
}

/** An argument breaks a limit of the format. */
export class RecordInvalidError extends WalError {
  constructor(message: string) {
    super('record_invalid', message);
  }
}

/** The bytes at a position aren't the record that was written there. */
export class RecordDamagedError extends WalError {
  readonly segment: number;
  readonly offset: number;

  constructor(
    place: { readonly segment: number; readonly offset: number },
    reason: string,
    options?: ErrorOptions,
  ) {
    super('record_damaged', `segment ${place.segment}, offset ${place.offset}: ${reason}`, options);
    this.segment = place.segment;
    this.offset = place.offset;
  }
}

export class SegmentNotFoundError extends WalError {
  readonly segment: number;

  constructor(segment: number) {
    super('segment_not_found', `there is no segment ${segment}`);
    this.segment = segment;
  }
}

/** The active segment can't be dropped. */
export class SegmentActiveError extends WalError {
  constructor(segment: number) {
    super('segment_active', `segment ${segment} is the active one; roll first`);
  }
}
