import { crc32 } from '@node-rs/crc32';
import type { LogRecord } from './append_log.ts';
import type { Log } from './log.ts';
import { encodeBlockKey, RECORD_BLOCK, type BlockPlace } from './shard_format.ts';

/** What a shard's body amounts to. `last` is the block that is still to be appended, with the close behind it. */
interface WrittenBody {
  readonly sizeBytes: number;
  readonly checksum: number;
  readonly blocks: readonly BlockPlace[];
  readonly last: LogRecord | undefined;
}

/**
 * Cuts a body into blocks and appends all but the last. At most `maxUnsyncedBytes` (or one block) are on their way at a
 * time. Nothing of it is visible before a close names it.
 */
export async function writeBody(
  log: Log,
  put: {
    readonly shardKey: Uint8Array;
    readonly putId: number;
    readonly blockSizeBytes: number;
    readonly maxUnsyncedBytes: number;
    readonly body: AsyncIterable<Uint8Array>;
  },
): Promise<WrittenBody> {
  const { shardKey, putId, blockSizeBytes } = put;
  const blocks: BlockPlace[] = [];
  const underway: { readonly lengthBytes: number; readonly done: Promise<void> }[] = [];
  let underwayBytes = 0;
  let number = 0;
  let pieces: Uint8Array[] = [];
  let piecesBytes = 0;
  let sizeBytes = 0;
  let checksum = 0;

  const nextRecord = (): LogRecord => {
    const record = { type: RECORD_BLOCK, key: encodeBlockKey(shardKey, { putId, number }), payload: pieces };
    number += 1;
    pieces = [];
    piecesBytes = 0;
    return record;
  };
  const oldestDone = async (): Promise<void> => {
    const oldest = underway.shift();
    if (oldest === undefined) return;
    underwayBytes -= oldest.lengthBytes;
    await oldest.done;
  };

  try {
    for await (const chunk of put.body) {
      checksum = crc32(chunk, checksum);
      sizeBytes += chunk.length;
      let rest = chunk;
      while (rest.length > 0) {
        if (piecesBytes === blockSizeBytes) {
          await log.ready(blockSizeBytes);
          const place = number;
          const done = log.append([nextRecord()]).then(([position]) => {
            if (position !== undefined)
              blocks[place] = { segment: position.segment, offset: position.offset };
          });
          // It is awaited below; until then a rejection has a listener.
          done.catch(() => undefined);
          underway.push({ lengthBytes: blockSizeBytes, done });
          underwayBytes += blockSizeBytes;
          while (underwayBytes > put.maxUnsyncedBytes) await oldestDone();
        }
        const taken = rest.subarray(0, blockSizeBytes - piecesBytes);
        pieces.push(taken);
        piecesBytes += taken.length;
        rest = rest.subarray(taken.length);
      }
    }
    while (underway.length > 0) await oldestDone();
  } catch (error) {
    // Nothing may still be on its way when the put is over: the caller's memory is in it.
    await Promise.allSettled(underway.map(({ done }) => done));
    throw error;
  }
  return { sizeBytes, checksum, blocks, last: piecesBytes > 0 ? nextRecord() : undefined };
}
