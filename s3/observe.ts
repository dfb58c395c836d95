/** Where log lines go; pino fits. */
export interface S3Logger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** One request, finished. */
export interface RequestObservation {
  /** `GetObject`, or `none` where no operation was found. */
  readonly operation: string;
  readonly method: string;
  readonly status: number;
  readonly durationMs: number;
  /** Of the body as sent by the client. */
  readonly receivedBytes: number;
  /** Of the answer's body. */
  readonly sentBytes: number;
}

/** What the HTTP layer counts. Calls are made synchronously and must be cheap. */
export interface S3Metrics {
  requestStarted(): void;
  requestFinished(observation: RequestObservation): void;
}
