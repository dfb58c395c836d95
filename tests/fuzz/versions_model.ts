export type Versioning = 'Never' | 'Enabled' | 'Suspended';

interface Version {
  readonly id: string;
  /** Absent: a delete marker. */
  readonly body?: Uint8Array;
}

/** What a listing of versions says of one. */
export interface ListedVersion {
  readonly key: string;
  readonly id: string;
  readonly marker: boolean;
  readonly latest: boolean;
}

/** The one version that is made while versioning is not enabled. */
export const nullVersion = 'null';

/**
 * Versions of keys as S3's documentation describes them. Ids are the store's to choose: whoever asks the model tells
 * it the id that the answer had.
 * https://docs.aws.amazon.com/AmazonS3/latest/userguide/versioning-workflows.html
 */
export class ModelVersions {
  versioning: Versioning = 'Never';
  /** Newest first. */
  readonly #stacks = new Map<string, Version[]>();

  stackOf(key: string): readonly Version[] {
    return this.#stacks.get(key) ?? [];
  }

  put(key: string, body: Uint8Array, id: string): void {
    this.#push(key, { id, body });
  }

  hide(key: string, id: string): void {
    if (this.versioning === 'Never') this.#stacks.delete(key);
    else this.#push(key, { id });
  }

  /** @returns the version that is gone now, if there was one. */
  remove(key: string, id: string): Version | undefined {
    const found = this.stackOf(key).find((version) => version.id === id);
    this.#stacks.set(
      key,
      this.stackOf(key).filter((version) => version !== found),
    );
    return found;
  }

  get(key: string, id: string | undefined): { readonly status: number; readonly body?: Uint8Array } {
    const [newest] = this.stackOf(key);
    const found = id === undefined ? newest : this.stackOf(key).find((version) => version.id === id);
    if (found === undefined) return { status: 404 };
    if (found.body === undefined) return { status: id === undefined ? 404 : 405 };
    return { status: 200, body: found.body };
  }

  list(): ListedVersion[] {
    const keys = [...this.#stacks.keys()].sort((one, other) =>
      Buffer.compare(Buffer.from(one, 'utf8'), Buffer.from(other, 'utf8')),
    );
    return keys.flatMap((key) =>
      this.stackOf(key).map(({ id, body }, at) => ({
        key,
        id,
        marker: body === undefined,
        latest: at === 0,
      })),
    );
  }

  /** The null version is one: a newer one takes its place. */
  #push(key: string, version: Version): void {
    const rest = this.stackOf(key).filter(({ id }) => id !== nullVersion || version.id !== nullVersion);
    this.#stacks.set(key, [version, ...rest]);
  }
}
