import { invariant } from './invariant.ts';
import type { HardState, LogIndex, PersistMarker } from './types.ts';

/** More under way would mean that the disk has stopped and nobody noticed. */
const MAX_IN_PROGRESS = 64;

/** What a batch makes durable. */
interface Written {
  readonly marker: PersistMarker;
  readonly hardState: HardState | undefined;
  /** Of an installed snapshot; 0 for none. */
  readonly snapshotIndex: LogIndex;
  /** The log up to here, as it is now: lowered when entries of the batch are cut off before it is durable. */
  readonly lastIndex: LogIndex;
}

/**
 * The batches that are being persisted, oldest first. Each remembers how much of the *present* log it makes durable. So a write
 * that ends late can't vouch for entries that have taken the place of those it wrote, not even when index and
 * term are the same again (the ABA problem of asynchronous log writes).
 */
export class Batches {
  #writing: Written[] = [];

  get full(): boolean {
    return this.#writing.length >= MAX_IN_PROGRESS;
  }

  get empty(): boolean {
    return this.#writing.length === 0;
  }

  begin(batch: Written): void {
    invariant(!this.full, `at most ${MAX_IN_PROGRESS} batches are persisted at a time`);
    this.#writing.push(batch);
  }

  /** @throws InvariantError when `marker` isn't the oldest one's. */
  end(marker: PersistMarker): Written {
    const batch = this.#writing.shift();
    invariant(
      batch !== undefined && batch.marker.term === marker.term && batch.marker.index === marker.index,
      `persisted(${marker.term}, ${marker.index}) is not the oldest batch in progress`,
    );
    return batch;
  }

  /** Entries behind some index were cut off: each batch vouches for `lower(lastIndex)` now. */
  truncate(lower: (lastIndex: LogIndex) => LogIndex): void {
    this.#writing = this.#writing.map((batch) => ({ ...batch, lastIndex: lower(batch.lastIndex) }));
  }
}
