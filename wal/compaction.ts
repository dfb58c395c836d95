import type { Position, ScanItem } from './append_log.ts';
import type { Log } from './log.ts';
import type { Pace } from './pace.ts';
import {
  decodeBlockNumber,
  decodePutId,
  encodeClose,
  encodePutKey,
  encodeTombstone,
  RECORD_BLOCK,
  RECORD_CLOSE,
  RECORD_TOMBSTONE,
  SHARD_KEY_BYTES,
  type BlockPlace,
  type LiveEntry,
} from './shard_format.ts';
import type { ShardIndex } from './shard_index.ts';

/** What compaction needs of a store. */
export interface CompactionSource {
  readonly log: Log;
  readonly index: ShardIndex;
  /** Runs an append together with its effect on the index. */
  readonly applied: (action: () => Promise<void>) => Promise<void>;
  /** Segments from this one on may hold what the index doesn't know yet. */
  readonly firstUnsettledSegment: () => number;
  readonly checkpoint: () => Promise<void>;
}

/** Why a segment is worth copying, and what it costs. */
interface Candidate {
  readonly segment: number;
  readonly sizeBytes: number;
  readonly liveBytes: number;
  readonly deadFraction: number;
}

export interface CompactedSegment {
  readonly segment: number;
  readonly movedBytes: number;
  readonly freedBytes: number;
  /** The segment is still there: a live record in it is damaged and waits for repair. */
  readonly kept: boolean;
}

/** Copies on their way to the disk at a time. */
const MAX_UNDERWAY_BYTES = 8 * 1024 * 1024;
const MAX_UNDERWAY = 256;

/** Sealed segments of which at least `minDeadFraction` is dead, the deadest first. */
export function candidates(source: CompactionSource, minDeadFraction: number): readonly Candidate[] {
  const { log, index } = source;
  const first = source.firstUnsettledSegment();
  return log.segments
    .filter(({ id, sealed }) => sealed && id < first)
    .map(({ id, sizeBytes }) => {
      const liveBytes = index.liveBytesOf(id);
      return { segment: id, sizeBytes, liveBytes, deadFraction: 1 - liveBytes / sizeBytes };
    })
    .filter(({ deadFraction }) => deadFraction >= minDeadFraction)
    .sort((a, b) => b.deadFraction - a.deadFraction);
}

interface MovedShard {
  readonly shardKey: Buffer;
  readonly entry: LiveEntry;
  readonly places: Map<number, BlockPlace>;
}

/**
 * Copies what is live in a segment to the end of the log and unlinks it. At any step a crash leaves either the old
 * record or both, and of two closes of one put the one with the higher revision counts:
 *
 * 1. Blocks are copied. Nothing names the copies yet.
 * 2. For each shard concerned, a close with the next revision names the new places. Tombstones that still cover
 *    something elsewhere are copied. The index follows, unless the shard was deleted or replaced meanwhile.
 * 3. The index is written, with a note that the segment is about to go. Replay would find the copies without it; this way
 *    no stored index ever points at a segment that is gone, and none is taken for lost.
 * 4. The segment is unlinked, and the directory synced.
 * 5. Only now do tombstones lose their reason that covered closes in this segment.
 */
export async function compactSegment(
  source: CompactionSource,
  job: { readonly segment: number; readonly pace: Pace },
): Promise<CompactedSegment> {
  const { log, index } = source;
  const { segment, pace } = job;
  const moved = new Map<string, MovedShard>();
  const closes = new Set<string>();
  const tombstones: { readonly shardKey: Buffer; readonly position: Position }[] = [];
  const copies = new Underway();
  let movedBytes = 0;
  let sizeBytes = 0;
  let damaged = false;

  for await (const item of log.scanSegment(segment)) {
    if (item.kind === 'damage') {
      damaged = true;
      continue;
    }
    const { position, record } = item;
    sizeBytes += position.lengthBytes;
    const shardKey = Buffer.from(record.key.subarray(0, SHARD_KEY_BYTES));
    const name = shardKey.toString('latin1');
    if (record.type === RECORD_CLOSE) closes.add(name);
    const found = judge(index, { shardKey, item });
    if (found === 'tombstone') {
      tombstones.push({ shardKey, position });
    } else if (found !== undefined) {
      const shard = moved.get(name) ?? {
        shardKey,
        entry: found.entry,
        places: new Map<number, BlockPlace>(),
      };
      moved.set(name, shard);
      if (found.block !== undefined) {
        const { block } = found;
        movedBytes += position.lengthBytes;
        await log.ready(position.lengthBytes);
        await copies.add(record.payload.length, async () => {
          const [place] = await log.append([record], { essential: true });
          if (place !== undefined) shard.places.set(block, { segment: place.segment, offset: place.offset });
        });
      }
    }
    await pace.spend(position.lengthBytes);
  }
  await copies.done();
  for (const shard of moved.values()) await copies.add(0, () => repoint(source, shard));
  await copies.done();

  // Only now: the copy of a close that lost against a deletion gives it something to cover.
  let idleBytes = 0;
  for (const tombstone of tombstones) {
    const { shardKey, position } = tombstone;
    const entry = index.get(shardKey);
    if (entry?.kind !== 'deleted' || !isAt(entry.position, position)) continue;
    if (entry.ghosts.some((ghost) => ghost !== segment)) {
      movedBytes += position.lengthBytes;
      await copies.add(0, () => copyTombstone(source, { shardKey, order: entry.order }));
    } else {
      idleBytes += position.lengthBytes;
    }
  }
  await copies.done();

  // What a damaged live record belongs to still points here, and waits for repair.
  if (index.liveBytesOf(segment) > idleBytes) return { segment, movedBytes, freedBytes: 0, kept: true };
  index.noteDrop(segment);
  await source.checkpoint();
  await log.dropSegment(segment);
  for (const name of closes) index.forgetGhost(Buffer.from(name, 'latin1'), segment);
  // A close that couldn't be read may have been anyone's.
  if (damaged) for await (const [shardKey] of index.entries()) index.forgetGhost(shardKey, segment);
  index.forgetDrop(segment);
  return { segment, movedBytes, freedBytes: sizeBytes - movedBytes, kept: false };
}

/** Whether the index points at this very record. A block comes with its number. */
function judge(
  index: ShardIndex,
  found: { readonly shardKey: Buffer; readonly item: ScanItem & { readonly kind: 'record' } },
): 'tombstone' | { readonly entry: LiveEntry; readonly block: number | undefined } | undefined {
  const { position, record } = found.item;
  const entry = index.get(found.shardKey);
  if (entry === undefined) return undefined;
  if (record.type === RECORD_TOMBSTONE) {
    return entry.kind === 'deleted' && isAt(entry.position, position) ? 'tombstone' : undefined;
  }
  if (entry.kind !== 'live') return undefined;
  if (record.type === RECORD_CLOSE) {
    return isAt(entry.position, position) ? { entry, block: undefined } : undefined;
  }
  if (record.type !== RECORD_BLOCK || decodePutId(record.key) !== entry.putId) return undefined;
  const block = decodeBlockNumber(record.key);
  const place = entry.blocks[block];
  return place !== undefined && isAt(place, position) ? { entry, block } : undefined;
}

/** The index takes the copy only while the deletion is still what is true of the shard. */
async function copyTombstone(
  source: CompactionSource,
  tombstone: { readonly shardKey: Buffer; readonly order: number },
): Promise<void> {
  const { shardKey, order } = tombstone;
  await source.applied(async () => {
    const record = { type: RECORD_TOMBSTONE, key: shardKey, payload: encodeTombstone(order) };
    const [position] = await source.log.append([record], { essential: true });
    if (position === undefined) throw new TypeError('an append without a position');
    source.index.apply(shardKey, { kind: 'tombstone', order, position });
  });
}

async function repoint(source: CompactionSource, shard: MovedShard): Promise<void> {
  const { log, index } = source;
  const { shardKey, entry, places } = shard;
  const current = index.get(shardKey);
  if (current?.kind !== 'live' || current.order !== entry.order || current.revision !== entry.revision)
    return;
  const blocks = entry.blocks.map((place, number) => places.get(number) ?? place);
  const { putId, order, epoch, sizeBytes, blockSizeBytes, checksum } = entry;
  const revision = entry.revision + 1;
  const close = { putId, order, revision, epoch, sizeBytes, blockSizeBytes, checksum, blocks };
  await source.applied(async () => {
    const key = encodePutKey(shardKey, putId);
    const record = { type: RECORD_CLOSE, key, payload: encodeClose(close, false) };
    const [position] = await log.append([record], { essential: true });
    if (position === undefined) throw new TypeError('an append without a position');
    index.apply(shardKey, { kind: 'close', close, position });
  });
}

/** Appends that are on their way, bounded in bytes and number, so that they share groups. */
class Underway {
  readonly #appends: { readonly bytes: number; readonly done: Promise<void> }[] = [];
  #bytes = 0;

  async add(payloadBytes: number, append: () => Promise<void>): Promise<void> {
    const bytes = Math.max(payloadBytes, MAX_UNDERWAY_BYTES / MAX_UNDERWAY);
    const done = append();
    // It is awaited below; until then a rejection has a listener.
    done.catch(() => undefined);
    this.#appends.push({ bytes, done });
    this.#bytes += bytes;
    while (this.#bytes > MAX_UNDERWAY_BYTES) await this.#oldest();
  }

  async done(): Promise<void> {
    while (this.#appends.length > 0) await this.#oldest();
  }

  async #oldest(): Promise<void> {
    const oldest = this.#appends.shift();
    if (oldest === undefined) return;
    this.#bytes -= oldest.bytes;
    await oldest.done;
  }
}

function isAt(a: BlockPlace, b: BlockPlace): boolean {
  return a.segment === b.segment && a.offset === b.offset;
}
