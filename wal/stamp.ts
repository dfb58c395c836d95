import { crc32 } from '@node-rs/crc32';
import { readSmallFile, systemErrorCode, writeFileDurably, type FileSystem } from './file_system.ts';
import { StampDamagedError, StampMismatchError, StampMissingError, type Stamp } from './shard_errors.ts';

const STAMP_FILE = 'stamp.json';
/** The same once more, so that one bad sector doesn't cost a node. */
const COPY_FILE = 'stamp.copy.json';
/** What may lie in a directory that counts as empty: what mkfs makes, and a stamp that was never finished. */
const HARMLESS = new Set(['lost+found', `${STAMP_FILE}.tmp`]);

/**
 * Marks an empty directory as `expected`'s; lets one pass that is. So a mixed-up mount or config can't make a node
 * serve, or collect as garbage, the shards of another.
 * @throws StampMismatchError, StampMissingError, StampDamagedError
 */
export async function claimDirectory(
  fileSystem: FileSystem,
  claim: { readonly directory: string; readonly expected: Stamp },
): Promise<void> {
  const { directory, expected } = claim;
  const { stamp, copy, isThere } = await readBoth(fileSystem, directory);
  const found = stamp ?? copy;
  if (found === undefined) {
    if (isThere) throw new StampDamagedError(directory);
    const names = (await fileSystem.readDirectory(directory)).filter((name) => !HARMLESS.has(name));
    if (names.length > 0) throw new StampMissingError(directory, names);
  } else if (found.clusterId !== expected.clusterId || found.nodeId !== expected.nodeId) {
    throw new StampMismatchError(directory, { found, expected });
  }
  const bytes = encodeStamp(expected);
  if (stamp === undefined) await writeFileDurably(fileSystem, { directory, name: STAMP_FILE, bytes });
  if (copy === undefined) await writeFileDurably(fileSystem, { directory, name: COPY_FILE, bytes });
  // Their renames may not have reached the disk: the process that made them may have failed right there.
  if (stamp !== undefined && copy !== undefined) await fileSystem.syncDirectory(directory);
}

/** Whose the directory is; undefined when it has no stamp. @throws StampDamagedError */
export async function readStamp(fileSystem: FileSystem, directory: string): Promise<Stamp | undefined> {
  const { stamp, copy, isThere } = await readBoth(fileSystem, directory);
  if (stamp === undefined && copy === undefined && isThere) throw new StampDamagedError(directory);
  return stamp ?? copy;
}

/** Each undefined when it is missing or damaged; `isThere` when a file is. */
async function readBoth(
  fileSystem: FileSystem,
  directory: string,
): Promise<{
  readonly stamp: Stamp | undefined;
  readonly copy: Stamp | undefined;
  readonly isThere: boolean;
}> {
  const read = async (name: string): Promise<Buffer | undefined> => {
    try {
      return await readSmallFile(fileSystem, `${directory}/${name}`);
    } catch (error) {
      if (systemErrorCode(error) !== 'EIO') throw error;
      return Buffer.alloc(0);
    }
  };
  const [stamp, copy] = [await read(STAMP_FILE), await read(COPY_FILE)];
  return {
    stamp: stamp === undefined ? undefined : decodeStamp(stamp),
    copy: copy === undefined ? undefined : decodeStamp(copy),
    isThere: stamp !== undefined || copy !== undefined,
  };
}

function encodeStamp({ clusterId, nodeId }: Stamp): Buffer {
  return Buffer.from(
    `${JSON.stringify({ version: 1, clusterId, nodeId, crc: stampCrc({ clusterId, nodeId }) })}\n`,
  );
}

function decodeStamp(bytes: Buffer): Stamp | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(bytes.toString());
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  if (typeof parsed !== 'object' || parsed === null) return undefined;
  const { version, clusterId, nodeId, crc } = parsed as Record<string, unknown>;
  if (version !== 1 || typeof clusterId !== 'string' || typeof nodeId !== 'number') return undefined;
  return crc === stampCrc({ clusterId, nodeId }) ? { clusterId, nodeId } : undefined;
}

function stampCrc({ clusterId, nodeId }: Stamp): number {
  return crc32(JSON.stringify([1, clusterId, nodeId]));
}
