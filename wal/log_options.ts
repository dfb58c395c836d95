import { randomBytes } from 'node:crypto';
import { RecordInvalidError } from './errors.ts';
import type { FileSystem } from './file_system.ts';
import { NodeFileSystem } from './node_file_system.ts';

const MIB = 1024 * 1024;
/** Offsets are 32 bits wide. */
const MAX_SEGMENT_BYTES = 2048 * MIB;

export interface LogOptions {
  /** Made when it doesn't exist. */
  readonly directory: string;
  readonly fileSystem?: FileSystem;
  /** A segment that has reached this is sealed; one append never spans two. Default 256 MiB, at most 2 GiB. */
  readonly segmentSizeBytes?: number;
  /** Below this much free space only essential appends are taken. Default 64 MiB. */
  readonly reserveBytes?: number;
  /** Above this many bytes waiting `ready` waits. Four times as many are refused. Default 64 MiB. */
  readonly maxWaitingBytes?: number;
  /** A group is closed once it has this many bytes. Default 16 MiB. */
  readonly maxGroupBytes?: number;
  /** A write or fsync that takes longer has failed. Default 60 s. */
  readonly stallTimeoutMs?: number;
  /** Idle descriptors kept for reading. Default 64. */
  readonly maxOpenFiles?: number;
  readonly randomBytes?: (count: number) => Uint8Array;
}

/** The options with what is the default of those that aren't given. @throws RecordInvalidError for one outside its limits */
export function withDefaults(options: LogOptions): Required<LogOptions> {
  const full = {
    fileSystem: new NodeFileSystem(),
    segmentSizeBytes: 256 * MIB,
    reserveBytes: 64 * MIB,
    maxWaitingBytes: 64 * MIB,
    maxGroupBytes: 16 * MIB,
    stallTimeoutMs: 60_000,
    maxOpenFiles: 64,
    randomBytes,
    ...options,
  };
  if (full.segmentSizeBytes < 4096 || full.segmentSizeBytes > MAX_SEGMENT_BYTES) {
    throw new RecordInvalidError(
      `segmentSizeBytes: from 4096 to ${MAX_SEGMENT_BYTES} expected, got ${full.segmentSizeBytes}`,
    );
  }
  return full;
}
