import { LogFullError } from './errors.ts';
import { isNoSpace, type File } from './file_system.ts';
import { encodeSegmentHeader, SEGMENT_HEADER_BYTES, type LogIdentity } from './format.ts';
import type { LogOptions } from './log_options.ts';
import { SegmentFiles, type Segment } from './segment_files.ts';

/** The newest segment, which is appended to. */
export interface ActiveSegment {
  readonly segment: Segment;
  readonly file: File;
}

/** Makes a segment with nothing but its header, durably. @throws LogFullError, then without a trace of it */
export async function createSegment(
  options: Required<LogOptions>,
  next: { readonly id: number; readonly firstSequence: number; readonly identity: LogIdentity },
): Promise<ActiveSegment> {
  const { fileSystem, directory } = options;
  const files = new SegmentFiles(options);
  const path = files.pathOf(next.id);
  let file: File | undefined;
  try {
    file = await fileSystem.open(path, 'create');
    const header = { segment: next.id, firstSequence: next.firstSequence, logId: next.identity.id };
    await file.write([encodeSegmentHeader(header)], 0);
    await file.dataSync();
    await fileSystem.syncDirectory(directory);
  } catch (error) {
    await file?.close();
    if (!isNoSpace(error)) throw error;
    if (file !== undefined) await fileSystem.unlink(path);
    throw new LogFullError('no space left for a new segment', { cause: error });
  }
  return { segment: { id: next.id, sizeBytes: SEGMENT_HEADER_BYTES, sealed: false }, file };
}
