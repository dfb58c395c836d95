import { createHash } from 'node:crypto';
import type { Lease } from '../lease.ts';
import { scanPages } from '../state_rows.ts';
import { WorkLoop } from '../work_loop.ts';
import type { EngineContext } from './context.ts';
import { engineLease } from './engine_lease.ts';
import { LifecyclePass, type PassPlace } from './lifecycle_pass.ts';
import { decodeRecord, encodeRecord } from './record.ts';
import { STATE_KEYS } from './row_keys.ts';
import { decodeBucket } from './rows.ts';
import type { LoadedBucket } from './bucket_settings.ts';
import { findBucket } from './targets.ts';

const VERSION = 1;
const dayMs = 24 * 60 * 60 * 1000;
const defaultTickMs = 60_000;
const bucketsPerScan = 1000;
const defaultRowsPerPage = 500;

export interface LifecycleOptions {
  /** For tests: a day of rules is that long, and what is due is due to the millisecond instead of at midnight. */
  readonly debugDayMs?: number | undefined;
  /** Between two looks at what may be due; default: a minute, or an eighth of the debug day. */
  readonly tickMs?: number | undefined;
  /** Rows that are looked at before the place is remembered and the work rests. */
  readonly rowsPerPage?: number | undefined;
}

/** Row of `state`: how far the rules of a bucket were carried out. */
interface Progress {
  /** Of the rules that were carried out: others begin anew. */
  readonly rules: Uint8Array;
  /** The midnight (or moment of a debug day) up to which they were. */
  readonly roundMs: number;
  /** Undefined: to the end. */
  readonly place: PassPlace | undefined;
}

/**
 * Carries out lifecycle rules in the background: a pass over each bucket that has rules, after each midnight (UTC) and
 * when its rules change. One gateway does it at a time; what it has seen is in rows, so another goes on where it
 * stopped. Two at once would do no harm: each deletion is conditional on the very version that was evaluated.
 */
export class LifecycleWorker {
  readonly #context: EngineContext;
  readonly #debugDayMs: number | undefined;
  readonly #rowsPerPage: number;
  readonly #lease: Lease;
  readonly #loop: WorkLoop;
  #pass: Promise<void> = Promise.resolve();

  constructor(context: EngineContext, options: LifecycleOptions & { readonly leaseMs: number }) {
    const { debugDayMs, tickMs, leaseMs } = options;
    this.#context = context;
    this.#rowsPerPage = options.rowsPerPage ?? defaultRowsPerPage;
    this.#debugDayMs = debugDayMs;
    this.#lease = engineLease(context, { key: STATE_KEYS.lifecycleLease(), leaseMs });
    const pauseMs =
      tickMs ?? (debugDayMs === undefined ? defaultTickMs : Math.max(10, Math.floor(debugDayMs / 8)));
    this.#loop = new WorkLoop({
      name: 'the lifecycle worker',
      turn: async () => {
        await this.look();
        return pauseMs;
      },
      failed: (error) => {
        context.logger.warn(
          { err: error },
          'lifecycle rules could not be carried out and will be tried again',
        );
        return pauseMs;
      },
    });
  }

  start(): void {
    if (this.#debugDayMs !== undefined) {
      this.#context.logger.warn(
        { dayMs: this.#debugDayMs },
        'lifecycle rules count days of another length: for tests alone',
      );
    }
    this.#loop.start();
  }

  async close(): Promise<void> {
    await this.#loop.close();
    await this.#pass;
    await this.#lease.release();
  }

  /** Looks at every bucket once; looks don't overlap. False: another gateway is at it, or the work was cut short. */
  async look(): Promise<boolean> {
    const before = this.#pass;
    const look = (async () => {
      await before;
      return this.#lookOnce();
    })();
    // Who comes next waits for the end of this look, whatever that end is.
    this.#pass = look.then(nothing, nothing);
    return look;
  }

  async #lookOnce(): Promise<boolean> {
    if (!(await this.#mayWork())) return false;
    const present = new Set<string>();
    for await (const page of scanPages(this.#context.state, {
      table: 'buckets',
      prefix: new Uint8Array(0),
      limit: bucketsPerScan,
    })) {
      if (!(await this.#mayWork())) return false;
      for (const { value } of page.items) {
        const { name, settingPlaces } = decodeBucket(value);
        if (!settingPlaces.has('lifecycle')) continue;
        const bucket = (await findBucket(this.#context, name))?.row;
        if (bucket?.settings.has('lifecycle') !== true) continue;
        present.add(Buffer.from(bucket.id).toString('hex'));
        await this.#lookAt(bucket);
        if (!(await this.#mayWork())) return false;
      }
    }
    await this.#forgetOthers(present);
    return true;
  }

  async #lookAt(bucket: LoadedBucket): Promise<void> {
    const rules = digestOf(bucket.settings.get('lifecycle') ?? '');
    const roundMs = this.#roundMs();
    const before = await this.#progressOf(bucket);
    const same = before !== undefined && Buffer.compare(before.rules, rules) === 0;
    if (same && before.place === undefined && before.roundMs >= roundMs) return;
    // A pass that began before the midnight goes on from its place: the next one sees what fell due since.
    const resumed = same && before.place !== undefined ? before : undefined;
    const round = resumed?.roundMs ?? roundMs;
    const pass = new LifecyclePass(this.#context, {
      bucket,
      debugDayMs: this.#debugDayMs,
      signal: this.#loop.signal,
      rowsPerPage: this.#rowsPerPage,
      from: resumed?.place ?? { table: 'versions' },
      reached: async (place) => {
        await this.#remember(bucket, { rules, roundMs: round, place });
        return this.#mayWork();
      },
    });
    const outcome = await pass.run();
    if (outcome === 'done') await this.#remember(bucket, { rules, roundMs: round, place: undefined });
    if (outcome === 'undone') {
      await this.#remember(bucket, { rules, roundMs: round, place: { table: 'versions' } });
    }
  }

  #roundMs(): number {
    const nowMs = this.#context.clock();
    return this.#debugDayMs === undefined ? Math.floor(nowMs / dayMs) * dayMs : Math.floor(nowMs);
  }

  async #mayWork(): Promise<boolean> {
    return !this.#loop.signal.aborted && (await this.#lease.keep());
  }

  async #progressOf(bucket: LoadedBucket): Promise<Progress | undefined> {
    const bytes = await this.#context.state.get('state', STATE_KEYS.lifecycle(bucket.id));
    if (bytes === undefined) return undefined;
    const fields = decodeRecord(bytes, { kind: 'lifecycle progress', newest: VERSION });
    const table = fields.optionalText('table');
    const after = fields.optionalBytes('after');
    return {
      rules: fields.bytes('rules'),
      roundMs: fields.integer('roundMs'),
      place:
        table === undefined
          ? undefined
          : {
              table: table === 'multipart' ? 'multipart' : 'versions',
              ...(after === undefined ? {} : { after }),
            },
    };
  }

  async #remember(bucket: LoadedBucket, progress: Progress): Promise<void> {
    const { rules, roundMs, place } = progress;
    const value = encodeRecord(VERSION, { rules, roundMs, ...place });
    await this.#context.state.set('state', STATE_KEYS.lifecycle(bucket.id), value);
  }

  /** Rows of buckets that are gone, or have no rules any more. */
  async #forgetOthers(present: ReadonlySet<string>): Promise<void> {
    const prefix = STATE_KEYS.lifecyclePrefix();
    for await (const key of this.#context.state.listKeys('state', prefix)) {
      if (present.has(Buffer.from(key.subarray(prefix.length)).toString('hex'))) continue;
      await this.#context.state.delete('state', key);
    }
  }
}

function digestOf(text: string): Uint8Array {
  return new Uint8Array(createHash('sha256').update(text, 'utf8').digest().subarray(0, 16));
}

function nothing(): void {
  // The look's own caller hears how it ended.
}
