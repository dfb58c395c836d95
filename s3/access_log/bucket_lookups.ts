import type { Backend, Bucket } from '../../backend/backend.ts';
import { BackendError } from '../../backend/errors.ts';

const believedMs = 5_000;
const maxBuckets = 1_000;
const maxLooking = 16;

/**
 * Finds the buckets of requests that were refused before their bucket was looked at. Each is looked up once in a while,
 * a few at a time: whoever sends many bad requests mustn't make work of it.
 */
export class BucketLookups {
  readonly #backend: Pick<Backend, 'headBucket'>;
  readonly #known = new Map<
    string,
    { readonly readMs: number; readonly found: Promise<Bucket | undefined> }
  >();
  #looking = 0;

  constructor(backend: Pick<Backend, 'headBucket'>) {
    this.#backend = backend;
  }

  /** Undefined at once: too much is being looked up. Undefined later: there is none, or it can't be had now. */
  find(bucket: string): Promise<Bucket | undefined> | undefined {
    const nowMs = performance.now();
    const known = this.#known.get(bucket);
    if (known !== undefined && nowMs - known.readMs < believedMs) return known.found;
    if (this.#looking >= maxLooking) return undefined;
    const found = this.#look(bucket);
    this.#known.delete(bucket);
    this.#known.set(bucket, { readMs: nowMs, found });
    const [oldest] = this.#known.keys();
    if (this.#known.size > maxBuckets && oldest !== undefined) this.#known.delete(oldest);
    return found;
  }

  async #look(bucket: string): Promise<Bucket | undefined> {
    this.#looking += 1;
    try {
      return await this.#backend.headBucket({ bucket, authorize: () => undefined });
    } catch (error) {
      if (error instanceof BackendError) return undefined;
      throw error;
    } finally {
      this.#looking -= 1;
    }
  }
}
