import type { ContentRow } from './rows.ts';

const bytesPerRow = 512;
const bytesPerPart = 160;

/**
 * Content rows lately read, the least recently used going first. All that is in them never changes but the locator:
 * a reader that finds nothing where it points forgets the row and reads it again.
 */
export class ContentCache {
  readonly #rows = new Map<string, { readonly row: ContentRow; readonly untilMs: number }>();
  readonly #limitBytes: number;
  readonly #keepMs: number;
  #bytes = 0;

  /** `keepMs`: rows are read again after so long, since places that content has left are freed some time later. */
  constructor(limitBytes: number, keepMs = Number.POSITIVE_INFINITY) {
    this.#limitBytes = limitBytes;
    this.#keepMs = keepMs;
  }

  get(contentId: Uint8Array): ContentRow | undefined {
    const name = nameOf(contentId);
    const entry = this.#rows.get(name);
    if (entry === undefined) return undefined;
    if (performance.now() >= entry.untilMs) {
      this.forget(contentId);
      return undefined;
    }
    this.#rows.delete(name);
    this.#rows.set(name, entry);
    return entry.row;
  }

  set(contentId: Uint8Array, row: ContentRow): void {
    this.forget(contentId);
    const size = sizeOf(row);
    if (size > this.#limitBytes / 4) return;
    this.#rows.set(nameOf(contentId), { row, untilMs: performance.now() + this.#keepMs });
    this.#bytes += size;
    for (const [name, oldest] of this.#rows) {
      if (this.#bytes <= this.#limitBytes) break;
      this.#rows.delete(name);
      this.#bytes -= sizeOf(oldest.row);
    }
  }

  forget(contentId: Uint8Array): void {
    const name = nameOf(contentId);
    const entry = this.#rows.get(name);
    if (entry === undefined) return;
    this.#rows.delete(name);
    this.#bytes -= sizeOf(entry.row);
  }
}

/** What a row holds in memory, roughly. */
function sizeOf(row: ContentRow): number {
  const metadata = row.metadata;
  const texts =
    metadata === undefined ? [] : [...Object.entries(metadata.user), ...Object.entries(metadata.system)];
  const text = texts.reduce(
    (sum, [name, value]: [string, string | undefined]) => sum + 2 * (name.length + (value?.length ?? 0)),
    0,
  );
  return bytesPerRow + (row.locator?.length ?? 0) + bytesPerPart * (row.parts?.length ?? 0) + text;
}

function nameOf(contentId: Uint8Array): string {
  return Buffer.from(contentId.buffer, contentId.byteOffset, contentId.length).toString('latin1');
}
