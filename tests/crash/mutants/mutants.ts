/** A bug, as a change of the source: `find` must be there exactly once. */
export interface Mutant {
  readonly name: string;
  /** What it does wrong. */
  readonly bug: string;
  /** Relative to the project. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  /** Which histories show it. */
  readonly only: 'log' | 'store';
}

const awaitAppend = `const [position] = await this.#log.append([record], { essential: true });`;

export const mutants: readonly Mutant[] = [
  {
    name: 'acknowledged before fdatasync',
    bug: 'A group counts as durable once it is written.',
    file: 'wal/log.ts',
    find: `await file.writeDurably(encoded.pieces, segment.sizeBytes);`,
    replace: `await file.write(encoded.pieces, segment.sizeBytes);`,
    only: 'log',
  },
  {
    name: 'a failed fdatasync is passed over',
    bug: 'The log goes on after an fdatasync that failed and dropped its pages.',
    file: 'wal/log.ts',
    find: `await file.writeDurably(encoded.pieces, segment.sizeBytes);`,
    replace: `await file.write(encoded.pieces, segment.sizeBytes);
        await file.dataSync().catch(() => undefined);`,
    only: 'log',
  },
  {
    name: 'a new segment is not in its directory',
    bug: 'The directory is not synced after a segment was created.',
    file: 'wal/active_segment.ts',
    find: `    await file.dataSync();
    await fileSystem.syncDirectory(directory);
  } catch`,
    replace: `    await file.dataSync();
  } catch`,
    only: 'log',
  },
  {
    name: 'a failed creation uses up its number',
    bug: 'A segment whose creation found no space comes back empty in front of the one that was made instead.',
    file: 'wal/log.ts',
    find: `    const id = this.#nextSegment;
    const created`,
    replace: `    const id = this.#nextSegment++;
    const created`,
    only: 'log',
  },
  {
    name: 'a group that found no space stays',
    bug: 'What was written of a group that found no space is not cut off.',
    file: 'wal/log.ts',
    find: `        await file.truncate(segment.sizeBytes);
        await file.dataSync();
        throw`,
    replace: `        throw`,
    only: 'log',
  },
  {
    name: 'no seal',
    bug: 'A segment is left without the record that says that nothing follows.',
    file: 'wal/log.ts',
    find: `await this.#commit([prepareInternal(SEAL_PAYLOAD)]);`,
    replace: ``,
    only: 'log',
  },
  {
    name: 'durable too early',
    bug: 'Records name the end of their own group as what was durable before it.',
    file: 'wal/log.ts',
    find: `durable: this.#end,`,
    replace: `durable: { segment: segment.id, offset: segment.sizeBytes + 200 },`,
    only: 'log',
  },
  {
    name: 'the tail is not written again',
    bug: 'Recovery counts what it can read as durable; after a failed fdatasync only the page cache has it.',
    file: 'wal/recovery.ts',
    find: `await file.write([piece.subarray(0, count)], at);`,
    replace: ``,
    only: 'log',
  },
  {
    name: 'recovery does not sync',
    bug: 'What recovery kept is reported before it is durable.',
    file: 'wal/recovery.ts',
    find: `const rewrittenBytes = await rewrite(file, { from: Math.min(rewriteFrom, end), to: end });
  await file.dataSync();`,
    replace: `const rewrittenBytes = await rewrite(file, { from: Math.min(rewriteFrom, end), to: end });`,
    only: 'log',
  },
  {
    name: 'put acknowledged before its close',
    bug: 'A put resolves once its close is queued.',
    file: 'wal/shard_store.ts',
    find: `await this.#applied(async () => {
        const positions`,
    replace: `void this.#applied(async () => {
        const positions`,
    only: 'store',
  },
  {
    name: 'delete acknowledged before its tombstone',
    bug: 'A delete resolves once its tombstone is queued.',
    file: 'wal/shard_store.ts',
    find: `    await this.#applied(async () => {
      const record = { type: RECORD_TOMBSTONE, key: shardKey, payload: encodeTombstone(order) };
      ${awaitAppend}`,
    replace: `    void this.#applied(async () => {
      const record = { type: RECORD_TOMBSTONE, key: shardKey, payload: encodeTombstone(order) };
      ${awaitAppend}`,
    only: 'store',
  },
  {
    name: 'checkpoint ahead of the index',
    bug: 'The index claims the log up to its end, also what it has not been told of yet.',
    file: 'wal/shard_store.ts',
    find: `if (before(point, least)) least = point;`,
    replace: `if (before(point, least)) least = this.#log.end;`,
    only: 'store',
  },
  {
    name: 'deletion forgotten too early',
    bug: 'Compaction leaves a tombstone behind that still covers a close in another segment.',
    file: 'wal/compaction.ts',
    find: `entry.ghosts.some((ghost) => ghost !== segment)`,
    replace: `entry.ghosts.some((ghost) => ghost < 0)`,
    only: 'store',
  },
  {
    name: 'ghosts forgotten before the unlink',
    bug: 'Tombstones lose their reason before the segment that they cover is gone.',
    file: 'wal/compaction.ts',
    find: `  index.noteDrop(segment);
  await source.checkpoint();
  await log.dropSegment(segment);
  for (const name of closes) index.forgetGhost(Buffer.from(name, 'latin1'), segment);`,
    replace: `  index.noteDrop(segment);
  for (const name of closes) index.forgetGhost(Buffer.from(name, 'latin1'), segment);
  await source.checkpoint();
  await log.dropSegment(segment);`,
    only: 'store',
  },
  {
    name: 'the last word counts',
    bug: 'The index believes what it is told last instead of what has the highest order.',
    file: 'wal/shard_index.ts',
    find: `const difference = current === undefined ? 1 : compare(event, current);`,
    replace: `const difference = current === undefined ? 1 : compare(event, current) || 1 ? 1 : 0;`,
    only: 'store',
  },
  {
    name: 'ghosts in lost segments are kept',
    bug: 'An open after a crash between unlink and the next checkpoint does not forget what lay there.',
    file: 'wal/shard_index.ts',
    find: `of this.entries()) this.#forgetGhosts(shardKey, entry, gone);`,
    replace: `of this.entries()) this.#forgetGhosts(shardKey, entry, []);`,
    only: 'store',
  },
];
