import { invariant } from './invariant.ts';
import type { Entry, SnapshotMeta } from './types.ts';

export interface RetainedLog {
  readonly snapshot: SnapshotMeta;
  readonly entries: readonly Entry[];
}

/**
 * The log to start with after a restart, given what the disk's log holds and where the state machine stands. They are written one after the
 * other, so a crash between the two steps of installing a snapshot leaves a state that is ahead of the log or not of the log
 * at all. The state holds committed entries only, so the log gives way: it starts anew behind the state (and the same
 * must then be made durable). `changed` tells so.
 * @throws InvariantError when the state is behind the log's base: entries are missing, and the replica must be rebuilt.
 */
export function reconcileLog(
  log: RetainedLog,
  state: SnapshotMeta,
): RetainedLog & { readonly changed: boolean } {
  const { snapshot, entries } = log;
  invariant(
    state.index >= snapshot.index,
    `the state ends at ${state.index} and the log begins behind ${snapshot.index}: entries are missing`,
  );
  const termInLog =
    state.index === snapshot.index ? snapshot.term : entries[state.index - snapshot.index - 1]?.term;
  if (termInLog === state.term) return { ...log, changed: false };
  return { snapshot: state, entries: [], changed: true };
}
