import type { Bucket } from '../backend.ts';

/** One `<Rule>` of a lifecycle configuration; the setting `lifecycle` is an array of them as JSON. */
export interface LifecycleRule {
  readonly id: string;
  readonly enabled: boolean;
  readonly filter: LifecycleFilter;
  readonly expiration?: Expiration;
  readonly noncurrentExpiration?: NoncurrentExpiration;
  /** Days after which an upload that was begun is aborted. */
  readonly abortDays?: number;
}

/** What a rule is about: all that is given must hold. */
export interface LifecycleFilter {
  /** As it stood in the document: beside the status (the older form), in a filter, or in an `And` of it. */
  readonly form: 'prefix' | 'filter' | 'and';
  readonly prefix?: string;
  readonly tags?: readonly (readonly [key: string, value: string])[];
  /** In bytes; exclusive both. */
  readonly largerThan?: number;
  readonly smallerThan?: number;
}

export type Expiration =
  { readonly days: number } | { readonly dateMs: number } | { readonly deleteMarker: boolean };

export interface NoncurrentExpiration {
  readonly days: number;
  /** So many noncurrent versions, the newest ones, are kept whatever their age. */
  readonly newer?: number;
}

export function encodeLifecycle(rules: readonly LifecycleRule[]): string {
  return JSON.stringify(rules);
}

export function decodeLifecycle(text: string): readonly LifecycleRule[] {
  return JSON.parse(text) as LifecycleRule[];
}

/** The rules of buckets, each text decoded once for as long as it is in use. */
export class LifecycleRules {
  readonly #known = new Map<string, readonly LifecycleRule[]>();
  readonly #most: number;

  constructor(most = 256) {
    this.#most = most;
  }

  /** Empty where the bucket has no rules. */
  of(bucket: Pick<Bucket, 'settings'>): readonly LifecycleRule[] {
    const text = bucket.settings.get('lifecycle');
    if (text === undefined) return [];
    const known = this.#known.get(text);
    if (known !== undefined) return known;
    const rules = decodeLifecycle(text);
    this.#known.set(text, rules);
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= this.#most) break;
      this.#known.delete(oldest);
    }
    return rules;
  }
}
