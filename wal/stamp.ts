import { crc32 } from 'node:zlib';
import { readSmallFile, writeFileDurably, type FileSystem } from './file_system.ts';
import { StampDamagedError, StampMismatchError, StampMissingError, type Stamp } from './shard_errors.ts';

const STAMP_FILE = 'stamp.json';
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
  const stored = await readSmallFile(fileSystem, `${directory}/${STAMP_FILE}`);
  if (stored === undefined) {
    const names = (await fileSystem.readDirectory(directory)).filter((name) => !HARMLESS.has(name));
    if (names.length > 0) throw new StampMissingError(directory, names);
    await writeFileDurably(fileSystem, { directory, name: STAMP_FILE, bytes: encodeStamp(expected) });
    return;
  }
  const found = decodeStamp(stored);
  if (found === undefined) throw new StampDamagedError(directory);
  if (found.clusterId !== expected.clusterId || found.nodeId !== expected.nodeId) {
    throw new StampMismatchError(directory, { found, expected });
  }
  // Its rename may not have reached the disk: the process that made it may have failed right there.
  await fileSystem.syncDirectory(directory);
}

/** Whose the directory is; undefined when it has no stamp. @throws StampDamagedError */
export async function readStamp(fileSystem: FileSystem, directory: string): Promise<Stamp | undefined> {
  const stored = await readSmallFile(fileSystem, `${directory}/${STAMP_FILE}`);
  if (stored === undefined) return undefined;
  const found = decodeStamp(stored);
  if (found === undefined) throw new StampDamagedError(directory);
  return found;
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
