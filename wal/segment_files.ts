import { SegmentNotFoundError } from './errors.ts';
import type { File, FileSystem } from './file_system.ts';
import { segmentFileName } from './format.ts';

/** A segment as the log knows it. `sizeBytes` counts what is durable. */
export interface Segment {
  readonly id: number;
  sizeBytes: number;
  sealed: boolean;
}

interface Descriptor {
  readonly file: Promise<File>;
  users: number;
}

/**
 * The segments of a log and descriptors to read them with. At most `maxOpenFiles` idle descriptors are kept, the
 * least recently used goes first. A segment that someone holds isn't unlinked before they let go.
 */
export class SegmentFiles {
  readonly #fileSystem: FileSystem;
  readonly #directory: string;
  readonly #maxOpenFiles: number;
  readonly #segments = new Map<number, Segment>();
  /** In order of use, oldest first. */
  readonly #descriptors = new Map<number, Descriptor>();
  readonly #holders = new Map<number, number>();
  readonly #awaitingRelease = new Map<number, () => void>();

  constructor(options: {
    readonly fileSystem: FileSystem;
    readonly directory: string;
    readonly maxOpenFiles: number;
  }) {
    this.#fileSystem = options.fileSystem;
    this.#directory = options.directory;
    this.#maxOpenFiles = options.maxOpenFiles;
  }

  pathOf(id: number): string {
    return `${this.#directory}/${segmentFileName(id)}`;
  }

  add(segment: Segment): void {
    this.#segments.set(segment.id, segment);
  }

  /** Oldest first. */
  list(): Segment[] {
    return [...this.#segments.values()];
  }

  get(id: number): Segment | undefined {
    return this.#segments.get(id);
  }

  /** Keeps the segment's file until the returned function is called. */
  hold(id: number): () => void {
    if (!this.#segments.has(id)) throw new SegmentNotFoundError(id);
    this.#holders.set(id, (this.#holders.get(id) ?? 0) + 1);
    let released = false;
    return () => {
      if (released) return;
      released = true;
      const left = (this.#holders.get(id) ?? 1) - 1;
      if (left > 0) {
        this.#holders.set(id, left);
      } else {
        this.#holders.delete(id);
        this.#awaitingRelease.get(id)?.();
      }
    };
  }

  /** Runs `use` with the file open for reading; the segment is held meanwhile. */
  async withFile<T>(id: number, use: (file: File) => Promise<T>): Promise<T> {
    const release = this.hold(id);
    try {
      return await this.useHeld(id, use);
    } finally {
      release();
    }
  }

  /** As `withFile`, for a segment that the caller holds already: it may have been dropped meanwhile. */
  async useHeld<T>(id: number, use: (file: File) => Promise<T>): Promise<T> {
    const descriptor = this.#descriptors.get(id) ?? {
      file: this.#fileSystem.open(this.pathOf(id), 'read'),
      users: 0,
    };
    descriptor.users += 1;
    this.#descriptors.delete(id);
    this.#descriptors.set(id, descriptor);
    try {
      let file: File;
      try {
        file = await descriptor.file;
      } catch (error) {
        // One that couldn't be opened must not be handed out again.
        if (this.#descriptors.get(id) === descriptor) this.#descriptors.delete(id);
        throw error;
      }
      return await use(file);
    } finally {
      descriptor.users -= 1;
      this.#closeIdle();
    }
  }

  /** No new reader gets the segment; resolves when the last one has let go and the file is gone for good. */
  async drop(id: number): Promise<void> {
    if (!this.#segments.delete(id)) throw new SegmentNotFoundError(id);
    if (this.#holders.has(id)) {
      await new Promise<void>((resolve) => this.#awaitingRelease.set(id, resolve));
      this.#awaitingRelease.delete(id);
    }
    const descriptor = this.#descriptors.get(id);
    this.#descriptors.delete(id);
    if (descriptor !== undefined) await closeReader(descriptor);
    await this.#fileSystem.unlink(this.pathOf(id));
    await this.#fileSystem.syncDirectory(this.#directory);
  }

  async close(): Promise<void> {
    const descriptors = [...this.#descriptors.values()];
    this.#descriptors.clear();
    for (const descriptor of descriptors) await closeReader(descriptor);
  }

  #closeIdle(): void {
    if (this.#descriptors.size <= this.#maxOpenFiles) return;
    for (const [id, descriptor] of this.#descriptors) {
      if (descriptor.users > 0) continue;
      this.#descriptors.delete(id);
      void closeReader(descriptor);
      if (this.#descriptors.size <= this.#maxOpenFiles) return;
    }
  }
}

/** Closing a descriptor that was only read from can't lose anything, so its outcome doesn't matter. */
async function closeReader(descriptor: Descriptor): Promise<void> {
  await descriptor.file.then((file) => file.close()).catch(() => undefined);
}
