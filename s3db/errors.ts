/** A condition of a batch did not hold; nothing was applied. */
export class ConditionFailedError extends Error {
  override readonly name = 'ConditionFailedError';
  /** Position in `Batch.conditions`. */
  readonly condition: number;
  constructor(condition: number) {
    super(`condition ${condition} of the batch does not hold`);
    this.condition = condition;
  }
}

/** The request was not carried out: no leader or no replica within the deadline, or the service refuses load. */
export class UnavailableError extends Error {
  override readonly name: string = 'UnavailableError';
}

/** The leader's disk has less free space than its reserve: nothing was applied, deletes still go on. */
export class StorageFullError extends UnavailableError {
  override readonly name: string = 'StorageFullError';
}

/** A write was sent and its answer never came: it may have been applied, or may yet be. */
export class UnknownOutcomeError extends Error {
  override readonly name = 'UnknownOutcomeError';
}

/** The request itself is wrong (a limit, a table name, a key): sending it again changes nothing. */
export class InvalidRequestError extends Error {
  override readonly name = 'InvalidRequestError';
}
