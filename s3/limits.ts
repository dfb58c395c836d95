import type { PaceLimits } from './http/pace.ts';

/** Every bound of the HTTP layer. `defaultLimits` suits a server of a few cores. */
export interface S3Limits {
  /** Requests being worked on at once; more get 503 SlowDown. */
  readonly maxInFlight: number;
  /** Biggest body of one PutObject or UploadPart. */
  readonly maxPutBytes: number;
  /** How slow clients may send and read bodies. */
  readonly pace: PaceLimits;
  /** After this long, Complete and Copy begin their 200 and keep the connection awake with white space. */
  readonly keepAliveAfterMs: number;
  /** One blank every so often from then on. */
  readonly keepAliveEveryMs: number;
  /** Keys of one DeleteObjects that are deleted at the same time. */
  readonly deleteConcurrency: number;
  /** Bytes of a refused request's body that are read and thrown away so that the refusal arrives, and for how long. */
  readonly lingerBytes: number;
  readonly lingerMs: number;
}

export const defaultLimits: S3Limits = {
  maxInFlight: 1024,
  maxPutBytes: 5 * 1024 ** 3,
  pace: { idleMs: 30_000, minBytesPerSecond: 1024, graceMs: 60_000 },
  keepAliveAfterMs: 5_000,
  keepAliveEveryMs: 5_000,
  deleteConcurrency: 16,
  lingerBytes: 4 * 1024 ** 2,
  lingerMs: 5_000,
};
