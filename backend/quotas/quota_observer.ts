import { BackendError } from '../errors.ts';
import type { GlobalState } from '../global_state.ts';
import type { ChangeObserver, ChangeRows, ObjectChange } from '../engine/object_changes.ts';
import { quotaOf, type Quota } from './quota.ts';
import { readUsage } from './read_usage.ts';
import { deltaKey, encodeUsage, gateKey, sumOf, type Usage } from './usage_rows.ts';

/** Usage that was read lately is believed for so long. */
const believedMs = 1000;
/** What this gateway let through counts as perhaps not yet in the usage that it reads for so long. */
const recentMs = 5000;
/** Gateways that may write to one bucket at once without getting into each other's share of what is left. */
const shares = 8;
const maxRemembered = 10_000;

interface QuotaObserverOptions {
  readonly state: GlobalState;
  readonly randomBytes: (length: number) => Uint8Array;
}

interface Remembered {
  usage: Usage | undefined;
  readMs: number;
  /** What went through without the gate, by seconds. */
  readonly recent: Map<number, Usage>;
}

/**
 * Counts what buckets hold and holds them to their quotas. Each change adds a row of its own with what it adds, in its
 * own batch, so that the count is exact and no row is hot; a worker folds these rows into the bucket's total.
 *
 * A gateway lets a change through on a count up to a second old while it, and all that this gateway has let through
 * lately, is less than an eighth of what is left. Any other change reads the exact count and goes through a gate: a
 * row that each such change rewrites on the condition that it is as it was before the count was read, so that no two
 * pass on the same count, on any gateway. So a quota is overrun at most by what others let through without the gate in
 * the second before: together, for up to eight gateways, less than what was left then.
 */
export class QuotaObserver {
  readonly #options: QuotaObserverOptions;
  readonly #buckets = new Map<string, Remembered>();

  constructor(options: QuotaObserverOptions) {
    this.#options = options;
  }

  readonly observe: ChangeObserver = async (change) => {
    const { growth, bucket } = change;
    if (growth.bytes === 0 && growth.versions === 0) return { operations: [] };
    const delta = {
      type: 'put' as const,
      table: 'state',
      key: deltaKey(bucket.id, this.#options.randomBytes(8)),
      value: encodeUsage({ bucket: bucket.name, ...growth }),
    };
    const setting = bucket.settings.get('quota');
    const gate = setting === undefined ? undefined : await this.#admit(change, quotaOf(setting));
    return { operations: [delta, ...(gate?.operations ?? [])], conditions: gate?.conditions ?? [] };
  };

  /** @throws BackendError QuotaExceeded */
  async #admit(change: ObjectChange, quota: Quota): Promise<ChangeRows> {
    const { growth, bucket } = change;
    // What makes a bucket smaller, or leaves it as it is, is always welcome.
    if (growth.bytes <= 0 && growth.versions <= 0) return { operations: [] };
    const added: Usage = { bucket: bucket.name, ...growth };
    const known = this.#remembered(Buffer.from(bucket.id).toString('hex'));
    const { state } = this.#options;
    const nowMs = performance.now();
    if (known.usage !== undefined && nowMs - known.readMs < believedMs) {
      if (passesFreely(known, { usage: known.usage, added, quota, nowMs })) return { operations: [] };
    }
    const key = gateKey(bucket.id);
    const gate = await state.get('state', key);
    const usage = await readUsage(state, bucket);
    known.usage = usage;
    known.readMs = nowMs;
    if (passesFreely(known, { usage, added, quota, nowMs })) return { operations: [] };
    refuseBeyond(sumOf(usage, added), quota, growth);
    return {
      conditions: [
        gate === undefined ? { table: 'state', key, exists: false } : { table: 'state', key, equals: gate },
      ],
      operations: [{ type: 'put', table: 'state', key, value: this.#options.randomBytes(8) }],
    };
  }

  #remembered(id: string): Remembered {
    const known = this.#buckets.get(id) ?? { usage: undefined, readMs: 0, recent: new Map<number, Usage>() };
    this.#buckets.delete(id);
    this.#buckets.set(id, known);
    for (const oldest of this.#buckets.keys()) {
      if (this.#buckets.size <= maxRemembered) break;
      this.#buckets.delete(oldest);
    }
    return known;
  }
}

/** Whether the change is within this gateway's share of what is left; notes it if so. */
function passesFreely(
  known: Remembered,
  change: { readonly usage: Usage; readonly added: Usage; readonly quota: Quota; readonly nowMs: number },
): boolean {
  const { usage, added, quota, nowMs } = change;
  const second = Math.floor(nowMs / 1000);
  let recent = added;
  for (const [at, passed] of known.recent) {
    if (at < second - recentMs / 1000) known.recent.delete(at);
    else recent = sumOf(recent, passed);
  }
  const { maxBytes = Infinity, maxObjects = Infinity } = quota;
  if (usage.bytes + shares * recent.bytes > maxBytes) return false;
  if (usage.versions + shares * recent.versions > maxObjects) return false;
  const before = known.recent.get(second);
  known.recent.set(second, before === undefined ? added : sumOf(before, added));
  return true;
}

/** Only a limit that the change itself moves towards is held against it. */
function refuseBeyond(after: Usage, quota: Quota, growth: ObjectChange['growth']): void {
  const { maxBytes, maxObjects } = quota;
  const tooBig = maxBytes !== undefined && growth.bytes > 0 && after.bytes > maxBytes;
  const tooMany = maxObjects !== undefined && growth.versions > 0 && after.versions > maxObjects;
  if (!tooBig && !tooMany) return;
  throw new BackendError('QuotaExceeded', 'The quota of the bucket does not allow for this.', {
    ...(tooBig ? { MaxBytes: String(maxBytes) } : {}),
    ...(tooMany ? { MaxObjects: String(maxObjects) } : {}),
  });
}
