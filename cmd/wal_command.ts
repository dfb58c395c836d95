import { dumpStore, reindexStore, verifyStore } from '../wal/inspect.ts';
import { LogLockedError } from '../wal/errors.ts';
import { StampMissingError } from '../wal/shard_errors.ts';
import { exitCodes, UsageError } from './errors.ts';

const usage =
  "usage: s3d wal verify|reindex|dump PATH, where PATH is a shard node's directory and the node is down";

/**
 * `s3d wal verify PATH`: reads and checks everything. `reindex`: makes the index anew from the segments. `dump`: one
 * line a record. @returns the exit code: 1 when verify found damage.
 */
export async function walCommand(args: readonly string[], print: (line: string) => void): Promise<number> {
  const [command, directory, ...rest] = args;
  if (directory === undefined || rest.length > 0) throw new UsageError(usage);
  try {
    switch (command) {
      case 'verify':
        return await verify(directory, print);
      case 'reindex': {
        const { replay } = await reindexStore({ directory });
        print(`the index of ${directory} was made from its segments: ${JSON.stringify(replay)}`);
        return exitCodes.ok;
      }
      case 'dump':
        for await (const item of dumpStore({ directory })) print(JSON.stringify(item, readable));
        return exitCodes.ok;
      default:
        throw new UsageError(usage);
    }
  } catch (error) {
    const refused = error instanceof StampMissingError || error instanceof LogLockedError;
    throw refused ? new UsageError(error.message) : error;
  }
}

async function verify(directory: string, print: (line: string) => void): Promise<number> {
  const report = await verifyStore({ directory });
  print(
    `${report.segments} segments, ${report.records} records, ${report.bytes} bytes, ${report.shards} shards`,
  );
  for (const cut of report.recovery.log.cut) print(`cut: ${JSON.stringify(cut, readable)}`);
  for (const range of report.damaged) print(`damaged: ${JSON.stringify(range, readable)}`);
  for (const { shard, reason } of report.damagedShards)
    print(`damaged shard ${JSON.stringify(shard, readable)}: ${reason}`);
  for (const shard of report.indexDifferences)
    print(`the index differs from the segments: ${JSON.stringify(shard, readable)}`);
  print(
    report.sound
      ? 'sound'
      : "not sound: the cluster repairs damaged shards; 's3d wal reindex' mends the index",
  );
  return report.sound ? exitCodes.ok : exitCodes.failure;
}

/** Hashes in hex, big numbers as text. */
function readable(_key: string, value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  return typeof value === 'bigint' ? value.toString() : value;
}
