import type { Backend, Bucket } from '../../backend/backend.ts';
import { BackendError } from '../../backend/errors.ts';
import type { Policies } from '../access/policies.ts';
import { accessPolicies } from '../access/known_policies.ts';
import type { Exchange } from '../exchange.ts';
import type { S3Logger } from '../observe.ts';
import { BucketLookups } from './bucket_lookups.ts';
import { loggingOf } from './configuration.ts';
import { mayDeliver, type LoggedBucket } from './delivery.ts';
import { recordsOf, sourceRecord } from './exchange_records.ts';
import { logObjectKey } from './object_key.ts';
import { recordDay, recordLine, type AccessRecord } from './record.ts';

export interface AccessLogOptions {
  readonly backend: Pick<Backend, 'headBucket' | 'putObject'>;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  readonly logger: S3Logger;
  readonly randomBytes: (length: number) => Uint8Array;
  /** The first record of a log object waits so long for others: at most a day. */
  readonly intervalMs: number;
  /** Of all records that wait; what comes beyond is dropped. Default: 16 MiB. */
  readonly maxBytes?: number;
  /** A log object is written as soon as it has so many. Default: 1 MiB. */
  readonly objectBytes?: number;
}

/** Log objects written at a time. */
const lanes = 4;
const deliveryTimeoutMs = 60_000;
/** How often a log object is tried while the store says that it can't take it now. */
const maxAttempts = 5;
/** Records that wait until their bucket was found. */
const maxLookingFor = 1_000;
/** What a line takes in memory beside its bytes. */
const lineOverheadBytes = 64;

/** What becomes one log object. */
interface Batch {
  readonly source: LoggedBucket;
  readonly eventDay: string | undefined;
  readonly lines: string[];
  /** Of the log object. */
  objectBytes: number;
  heldBytes: number;
  attempts: number;
  dueMs: number;
}

/**
 * Server access logs, as S3 keeps them: best effort, some time later, in objects of a bucket that the owner chose.
 * Each gateway gathers its own records, within bounds of memory; what waits when a process dies is lost, as is what
 * the target bucket doesn't take.
 */
export class AccessLog {
  readonly #options: AccessLogOptions;
  readonly #lookups: BucketLookups;
  readonly #policies: Policies = accessPolicies();
  /** In the order in which they are due. */
  readonly #batches = new Map<string, Batch>();
  readonly #due: Batch[] = [];
  readonly #working = new Set<Promise<void>>();
  #timer: NodeJS.Timeout | undefined;
  #dropTimer: NodeJS.Timeout | undefined;
  #lanes = 0;
  #lookingFor = 0;
  #heldBytes = 0;
  #dropped = 0;
  #closing = false;

  constructor(options: AccessLogOptions) {
    this.#options = options;
    this.#lookups = new BucketLookups(options.backend);
  }

  /** Notes a request that was answered, for those of its buckets that are logged. Never waits. */
  note(exchange: Exchange, durationMs: number): void {
    const answered = { atMs: this.#options.clock(), durationMs };
    const source = sourceRecord(exchange, answered);
    if (source !== undefined) this.#add(source.bucket, () => [source.record]);
    const { bucket } = exchange.access;
    if (bucket !== undefined) {
      this.#add(bucket, () => recordsOf(exchange, bucket, answered));
      return;
    }
    const name = exchange.resource?.bucket ?? '';
    const found = name === '' || this.#lookingFor >= maxLookingFor ? undefined : this.#lookups.find(name);
    if (found === undefined) return;
    this.#lookingFor += 1;
    this.#track(
      found
        .then((late) => {
          if (late !== undefined) this.#add(late, () => recordsOf(exchange, late, answered));
        })
        .finally(() => (this.#lookingFor -= 1)),
    );
  }

  /** Tries to write all that waits. */
  async close(): Promise<void> {
    this.#closing = true;
    clearTimeout(this.#timer);
    // Looking up buckets and writing log objects may each leave more to be written.
    do {
      await Promise.all(this.#working);
      for (const [name, batch] of this.#batches) this.#flush(name, batch);
    } while (this.#working.size > 0);
    this.#tellDropped();
  }

  #add(bucket: Bucket, make: () => readonly AccessRecord[]): void {
    const setting = bucket.settings.get('logging');
    if (setting === undefined) return;
    const { name, owner, region } = bucket;
    const source: LoggedBucket = { bucket: name, owner, region, target: loggingOf(setting) };
    for (const record of make()) this.#addLine(source, record);
  }

  #addLine(source: LoggedBucket, record: AccessRecord): void {
    const { maxBytes = 16 * 1024 ** 2, objectBytes = 1024 ** 2, intervalMs } = this.#options;
    const line = recordLine(record);
    const sizeBytes = Buffer.byteLength(line);
    const heldBytes = sizeBytes + lineOverheadBytes;
    if (this.#heldBytes + heldBytes > maxBytes) {
      this.#drop(1);
      return;
    }
    const eventDay = source.target.partitionedBy === 'EventTime' ? recordDay(record) : undefined;
    const name = JSON.stringify([source.bucket, source.owner.id, source.target, eventDay]);
    let batch = this.#batches.get(name);
    if (batch === undefined) {
      const dueMs = performance.now() + intervalMs;
      batch = { source, eventDay, lines: [], objectBytes: 0, heldBytes: 0, attempts: 0, dueMs };
      this.#batches.set(name, batch);
      this.#wait();
    }
    batch.lines.push(line);
    batch.objectBytes += sizeBytes;
    batch.heldBytes += heldBytes;
    this.#heldBytes += heldBytes;
    if (batch.objectBytes >= objectBytes) this.#flush(name, batch);
  }

  /** The first batch is the one that is due first, since all wait equally long. */
  #wait(): void {
    if (this.#timer !== undefined || this.#closing) return;
    const [first] = this.#batches.values();
    if (first === undefined) return;
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        const nowMs = performance.now();
        for (const [name, batch] of this.#batches) {
          if (batch.dueMs > nowMs) break;
          this.#flush(name, batch);
        }
        this.#wait();
      },
      Math.max(1, first.dueMs - performance.now()),
    );
    this.#timer.unref();
  }

  #flush(name: string, batch: Batch): void {
    this.#batches.delete(name);
    this.#due.push(batch);
    if (this.#lanes >= lanes) return;
    this.#lanes += 1;
    this.#track(this.#deliverAll().finally(() => (this.#lanes -= 1)));
  }

  async #deliverAll(): Promise<void> {
    for (let batch = this.#due.shift(); batch !== undefined; batch = this.#due.shift()) {
      batch.attempts += 1;
      const outcome = await this.#deliver(batch);
      if (outcome === 'later' && batch.attempts < maxAttempts && !this.#closing) {
        this.#again(batch);
        continue;
      }
      this.#heldBytes -= batch.heldBytes;
      if (outcome !== 'done') this.#drop(batch.lines.length);
    }
  }

  /** As a batch of its own: others may have taken its place. */
  #again(batch: Batch): void {
    batch.dueMs = performance.now() + this.#options.intervalMs;
    this.#batches.set(`${this.#unique()} again`, batch);
    this.#wait();
  }

  async #deliver(batch: Batch): Promise<'done' | 'later' | 'refused'> {
    const { backend, clock, logger } = this.#options;
    const { source, eventDay, lines } = batch;
    const { bucket, prefix } = source.target;
    const key = logObjectKey(source, { atMs: clock(), eventDay, unique: this.#unique() });
    try {
      await backend.putObject({
        bucket,
        key,
        owner: source.owner,
        metadata: { system: { contentType: 'text/plain' }, user: {} },
        body: { stream: pieces(lines), sizeBytes: batch.objectBytes },
        authorize: (target) => {
          if (mayDeliver(target, { source, prefix, key, policies: this.#policies })) return;
          throw new BackendError('AccessDenied', 'The target bucket takes no access logs of this bucket.');
        },
        signal: AbortSignal.timeout(deliveryTimeoutMs),
      });
      return 'done';
    } catch (error) {
      const later =
        error instanceof BackendError && (error.code === 'ServiceUnavailable' || error.code === 'SlowDown');
      // Of a refusal the words are enough.
      const why = error instanceof BackendError ? { reason: error.message } : { err: error };
      logger.warn(
        { ...why, bucket: source.bucket, target: bucket, records: lines.length, attempt: batch.attempts },
        'access records could not be delivered',
      );
      return later ? 'later' : 'refused';
    }
  }

  #drop(records: number): void {
    this.#dropped += records;
    // Told once for all that is dropped meanwhile.
    this.#dropTimer ??= setTimeout(() => this.#tellDropped(), 1_000).unref();
  }

  #tellDropped(): void {
    clearTimeout(this.#dropTimer);
    this.#dropTimer = undefined;
    if (this.#dropped === 0) return;
    this.#options.logger.warn({ records: this.#dropped }, 'access records were dropped');
    this.#dropped = 0;
  }

  #unique(): string {
    return Buffer.from(this.#options.randomBytes(8)).toString('hex').toUpperCase();
  }

  #track(work: Promise<void>): void {
    const settled = work.catch((error: unknown) => {
      this.#options.logger.error({ err: error }, 'noting an access failed');
    });
    this.#working.add(settled);
    void settled.then(() => this.#working.delete(settled));
  }
}

async function* pieces(lines: readonly string[]): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < lines.length; at += 256) {
    yield await Promise.resolve(Buffer.from(lines.slice(at, at + 256).join(''), 'utf8'));
  }
}
