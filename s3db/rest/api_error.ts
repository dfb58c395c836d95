import { AuthError } from '../../auth/errors.ts';
import { ReplicaFailedError } from '../driver_errors.ts';
import {
  ConditionFailedError,
  InvalidRequestError,
  StorageFullError,
  UnavailableError,
  UnknownOutcomeError,
} from '../errors.ts';
import { ValueDamagedError } from '../level_tables.ts';

type ApiErrorCode =
  | 'InvalidRequest'
  | 'Unauthorized'
  | 'NotFound'
  | 'RequestExpired'
  | 'ConditionFailed'
  | 'TooLarge'
  | 'RequestIdReused'
  | 'Internal'
  | 'Unavailable'
  | 'UnknownOutcome'
  | 'InsufficientStorage'
  | 'NotImplemented';

/** Each code has one status. */
export const statusOf = {
  InvalidRequest: 400,
  Unauthorized: 403,
  NotFound: 404,
  RequestExpired: 409,
  ConditionFailed: 412,
  TooLarge: 413,
  RequestIdReused: 422,
  Internal: 500,
  NotImplemented: 501,
  Unavailable: 503,
  UnknownOutcome: 504,
  InsufficientStorage: 507,
} as const satisfies Record<ApiErrorCode, number>;

/** An answer other than success, `{"error","message"}` and what `details` adds. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly code: ApiErrorCode;
  readonly details: Readonly<Record<string, number | string>>;
  constructor(code: ApiErrorCode, message: string, details: Readonly<Record<string, number | string>> = {}) {
    super(message);
    this.code = code;
    this.details = details;
  }
}

/** Undefined for what only a bug can throw. */
export function toApiError(error: unknown): ApiError | undefined {
  if (error instanceof ApiError) return error;
  if (error instanceof AuthError) return new ApiError('Unauthorized', error.message, { reason: error.code });
  if (error instanceof InvalidRequestError) return new ApiError('InvalidRequest', error.message);
  if (error instanceof ConditionFailedError) {
    return new ApiError('ConditionFailed', error.message, { condition: error.condition });
  }
  if (error instanceof StorageFullError) return new ApiError('InsufficientStorage', error.message);
  if (error instanceof UnavailableError) return new ApiError('Unavailable', error.message);
  if (error instanceof UnknownOutcomeError) return new ApiError('UnknownOutcome', error.message);
  if (error instanceof ReplicaFailedError) return new ApiError('Unavailable', error.message);
  if (error instanceof ValueDamagedError) return new ApiError('Internal', error.message);
  return undefined;
}
