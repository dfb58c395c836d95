/** This replica doesn't lead, or lost its lead before it took the proposal: nothing of it will be applied. */
export class NotLeaderError extends Error {
  override readonly name = 'NotLeaderError';
}

/** Leadership was lost with the proposal under way. It may yet be applied: ask again under the same request id. */
export class LeadershipLostError extends Error {
  override readonly name = 'LeadershipLostError';
}

/** No leader answered a read barrier. Try again. */
export class NoReadIndexError extends Error {
  override readonly name = 'NoReadIndexError';
}

/** The replica's log or state failed: it serves nothing any more and its process must end. */
export class ReplicaFailedError extends Error {
  override readonly name = 'ReplicaFailedError';
}

/** A directory can't be used for what was asked. */
export class UsageOfDirectoryError extends Error {
  override readonly name = 'UsageOfDirectoryError';
}
