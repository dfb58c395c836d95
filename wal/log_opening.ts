import { createSegment, type ActiveSegment } from './active_segment.ts';
import type { DirectoryLock } from './file_system.ts';
import type { LogIdentity } from './format.ts';
import type { LogOptions } from './log_options.ts';
import {
  listSegments,
  loadIdentity,
  recoverNewest,
  sequenceBehind,
  type RecoveryReport,
} from './recovery.ts';
import { SegmentFiles } from './segment_files.ts';

/** What a log goes on from. */
export interface OpenParts {
  readonly options: Required<LogOptions>;
  readonly lock: DirectoryLock;
  readonly identity: LogIdentity;
  readonly files: SegmentFiles;
  readonly active: ActiveSegment;
  readonly sequence: number;
  readonly recovery: RecoveryReport;
}

/** Recovers a directory that is locked, and opens its newest segment, or makes the first. */
export async function openLocked(options: Required<LogOptions>, lock: DirectoryLock): Promise<OpenParts> {
  const { fileSystem, directory, maxOpenFiles } = options;
  const found = await listSegments(options);
  const identity = await loadIdentity(options, { segments: found, randomBytes: options.randomBytes });
  const last = found.at(-1);
  const newest = last === undefined ? undefined : await recoverNewest(options, { identity, segment: last });
  // The segment before one whose creation was interrupted had been sealed: it isn't recovered as if it were the newest.
  const ids = newest === undefined ? found.slice(0, -1) : found;

  const files = new SegmentFiles({ fileSystem, directory, maxOpenFiles });
  for (const id of ids) {
    if (id === newest?.segment) {
      files.add({ id, sizeBytes: newest.sizeBytes, sealed: newest.sealed });
    } else {
      const file = await fileSystem.open(files.pathOf(id), 'read');
      files.add({ id, sizeBytes: await file.size(), sealed: true });
      await file.close();
    }
  }

  const sequence = newest?.nextSequence ?? (await sequenceBehind(options, { identity, segments: ids }));
  const segment = newest === undefined ? undefined : files.get(newest.segment);
  const active =
    segment === undefined
      ? await createSegment(options, { id: (found.at(-1) ?? 0) + 1, firstSequence: sequence, identity })
      : { segment, file: await fileSystem.open(files.pathOf(segment.id), 'write') };
  if (segment === undefined) files.add(active.segment);
  const recovery: RecoveryReport = {
    created: found.length === 0,
    segments: ids.length,
    records: newest?.records ?? 0,
    rewrittenBytes: newest?.rewrittenBytes ?? 0,
    cut: newest?.cut ?? [],
    damaged: newest?.damaged ?? [],
  };
  return { options, lock, identity, files, active, sequence, recovery };
}
