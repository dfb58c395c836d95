import { LogDamagedError, RecordDamagedError } from '../wal/errors.ts';
import { LevelDamagedError } from '../wal/level_check/damage.ts';
import { ValueDamagedError } from './level_tables.ts';
import { RaftLogDamagedError } from './raft_storage.ts';
import { IdentityDamagedError } from './replica_identity.ts';

/** What a replica keeps can't be trusted, and there is no other replica to take it from. */
export class OnlyCopyDamagedError extends Error {
  override readonly name = 'OnlyCopyDamagedError';
}

const kinds = [
  IdentityDamagedError,
  LevelDamagedError,
  LogDamagedError,
  RaftLogDamagedError,
  RecordDamagedError,
  ValueDamagedError,
];

/**
 * Whether an error says that stored bytes aren't those that were written. Not so: a disk that fails (the next read may do better, or
 * the disk is to be replaced), a form that a newer program wrote, a broken invariant (a bug, that a rebuilt replica would
 * have too).
 */
export function isDamage(error: unknown): boolean {
  for (let cause = error, depth = 0; cause instanceof Error && depth < 8; cause = cause.cause, depth++) {
    if (kinds.some((kind) => cause instanceof kind)) return true;
    if ('code' in cause && cause.code === 'LEVEL_CORRUPTION') return true;
  }
  return false;
}
