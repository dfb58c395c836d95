import type { WriteStream } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Batch, Condition, Database } from '../../../s3db/database.ts';
import { ConditionFailedError, UnavailableError, UnknownOutcomeError } from '../../../s3db/errors.ts';
import { formatRequestId, mintRequestId } from '../../../s3db/request_id.ts';
import type { Random } from '../../sim/random.ts';
import {
  keysPerGroup,
  type History,
  type Input,
  type KeyCondition,
  type Output,
  type Recorded,
  type WriteInput,
} from './history.ts';

const table = 'campaign';
/** Groups that are worked on for one epoch; then others, so that no history gets long. */
const groupsPerEpoch = 6;
const epochMs = 12_000;
const deadlinesMs = [500, 2000, 5000, 5000];

export interface WorkloadOptions {
  readonly history: History;
  readonly random: Random;
  /** Clients of different kinds; each worker has one of them. */
  readonly clients: readonly { readonly name: string; readonly database: Database }[];
  readonly workers: number;
  /** Of all workers together. */
  readonly callsPerSecond: number;
  /** Every call as a line. */
  readonly lines: WriteStream;
  readonly onViolation: (what: string) => void;
}

export interface WorkloadCounts {
  refused: number;
  unknown: number;
  conditionsFailed: number;
  repeated: number;
}

/** Workers that read and write small groups of keys through all kinds of clients, and record what they saw. */
export class Workload {
  readonly counts: WorkloadCounts = { refused: 0, unknown: 0, conditionsFailed: 0, repeated: 0 };
  readonly #options: WorkloadOptions;
  readonly #startMs = performance.now();
  #stopped = false;
  #nextValue = 1;
  /** The highest index of any acknowledged write. */
  #acknowledged = 0;
  /** What was seen last, for conditions. */
  readonly #seen = new Map<string, number>();
  #running: Promise<unknown> = Promise.resolve();

  constructor(options: WorkloadOptions) {
    this.#options = options;
  }

  get nowMs(): number {
    return performance.now() - this.#startMs;
  }

  start(): void {
    const { clients, workers } = this.#options;
    this.#running = Promise.all(
      Array.from({ length: workers }, async (_, i) => {
        const client = clients[i % clients.length];
        if (client !== undefined) await this.#work(i, client);
      }),
    );
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  /** Reads every group once more: what was acknowledged long ago must still be there. */
  async readAll(database: Database, groups: readonly string[]): Promise<void> {
    for (const group of groups) {
      await this.#read(-1, {
        database,
        group,
        input: { kind: 'scan', key: 0, limit: keysPerGroup },
        deadlineMs: 20_000,
      });
    }
  }

  async #work(worker: number, client: { readonly name: string; readonly database: Database }): Promise<void> {
    const { workers, callsPerSecond, onViolation } = this.#options;
    const random = this.#options.random.fork();
    const pauseMs = (1000 * workers) / callsPerSecond;
    while (!this.#stopped) {
      const startedMs = performance.now();
      try {
        await this.#call(worker, client.database, random);
      } catch (error) {
        onViolation(
          `${client.name}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
        );
      }
      await sleep(Math.max(0, random.around(pauseMs) - (performance.now() - startedMs)));
    }
  }

  async #call(worker: number, database: Database, random: Random): Promise<void> {
    const epoch = Math.floor(this.nowMs / epochMs);
    // Now and then an old group, of which everything must still be known.
    const of = random.chance(0.04) ? random.below(epoch + 1) : epoch;
    const group = `${of}.${random.below(groupsPerEpoch)}`;
    const deadlineMs = random.pick(deadlinesMs);
    const key = random.below(keysPerGroup);
    const drawn = random.float();
    if (drawn < 0.3) await this.#read(worker, { database, group, input: { kind: 'get', key }, deadlineMs });
    else if (drawn < 0.42) {
      const input = {
        kind: 'scan',
        key: random.pick([0, 0, key]),
        limit: random.pick([1, 2, keysPerGroup]),
      } as const;
      await this.#read(worker, { database, group, input, deadlineMs });
    } else if (drawn < 0.5) await this.#readStale({ database, group, key, deadlineMs });
    else
      await this.#write(worker, {
        database,
        group,
        input: this.#drawWrite(group, random),
        deadlineMs,
        random,
      });
  }

  #drawWrite(group: string, random: Random): WriteInput {
    const key = random.below(keysPerGroup);
    const conditions: KeyCondition[] = [];
    if (random.chance(0.4)) {
      const equals = this.#seen.get(`${group}/${key}`) ?? 0;
      conditions.push(equals === 0 ? { key, exists: false } : { key, equals });
      if (random.chance(0.2))
        conditions.push({ key: random.below(keysPerGroup), exists: random.chance(0.5) });
      if (random.chance(0.05)) conditions.unshift({ empty: true });
    }
    const keys = random
      .shuffled(Array.from({ length: keysPerGroup }, (_, i) => i))
      .slice(0, random.pick([0, 0, 1, 2]));
    const operations = [key, ...keys.filter((other) => other !== key)].map((target) => ({
      key: target,
      value: random.chance(0.2) ? 0 : this.#nextValue++,
    }));
    return { kind: 'batch', conditions, operations };
  }

  async #read(
    worker: number,
    call: {
      readonly database: Database;
      readonly group: string;
      readonly input: Extract<Input, { kind: 'get' | 'scan' }>;
      readonly deadlineMs: number;
    },
  ): Promise<void> {
    const { database, group, input, deadlineMs } = call;
    const { history } = this.#options;
    const recorded = history.begin(group, this.nowMs, input);
    let output: Output;
    try {
      if (input.kind === 'get') {
        output = decodeValue(await database.get(table, encodeKey(group, input.key), { deadlineMs }));
        this.#seen.set(`${group}/${input.key}`, output);
      } else {
        const startAfter = input.key === 0 ? {} : { startAfter: encodeKey(group, input.key - 1) };
        const limit = input.limit ?? keysPerGroup;
        const page = await database.scan(
          { table, prefix: groupPrefix(group), limit, ...startAfter },
          { deadlineMs },
        );
        output = page.items.flatMap((item) => [decodeKey(item.key), decodeValue(item.value)]);
      }
    } catch (error) {
      history.drop(group, recorded);
      if (!(error instanceof UnavailableError)) throw error;
      this.counts.refused++;
      return;
    }
    history.settle(recorded, this.nowMs, output);
    this.#record(worker, group, recorded);
  }

  async #readStale(call: {
    readonly database: Database;
    readonly group: string;
    readonly key: number;
    readonly deadlineMs: number;
  }): Promise<void> {
    const { database, group, key, deadlineMs } = call;
    try {
      const value = await database.get(table, encodeKey(group, key), { consistency: 'stale', deadlineMs });
      this.#options.history.addStale({ group, returned: this.nowMs, values: [decodeValue(value)] });
    } catch (error) {
      if (!(error instanceof UnavailableError)) throw error;
      this.counts.refused++;
    }
  }

  async #write(
    worker: number,
    call: {
      readonly database: Database;
      readonly group: string;
      readonly input: WriteInput;
      readonly deadlineMs: number;
      readonly random: Random;
    },
  ): Promise<void> {
    const { database, group, input, deadlineMs, random } = call;
    const batch = encodeBatch(group, input);
    const requestId = formatRequestId(mintRequestId(Date.now()));
    const { history } = this.#options;
    const recorded = history.begin(group, this.nowMs, input);
    const floor = this.#acknowledged;
    let known = false;
    let output: Output | undefined;
    // A call whose outcome is unknown is sometimes asked for again under its id: the answer then counts for all of it.
    const attempts = random.chance(0.5) ? 3 : 1;
    let mayBeApplied = false;
    for (let attempt = 0; attempt < attempts && !known; attempt++) {
      try {
        const { index } = await database.batch(batch, { requestId, deadlineMs });
        if (index <= floor)
          this.#options.onViolation(`a write got index ${index}, ${floor} was acknowledged before it`);
        this.#acknowledged = Math.max(this.#acknowledged, index);
        output = -1;
        known = true;
      } catch (error) {
        if (error instanceof ConditionFailedError) {
          output = error.condition;
          known = true;
        } else if (error instanceof UnknownOutcomeError) {
          mayBeApplied = true;
        } else if (!(error instanceof UnavailableError)) {
          throw error;
        }
      }
    }
    if (!known && !mayBeApplied) {
      // Its values must never be seen: nothing was applied.
      history.drop(group, recorded);
      this.counts.refused++;
      this.#line([worker, group, 'refused', recorded.invoked, this.nowMs, input]);
      return;
    }
    if (output === undefined) this.counts.unknown++;
    else history.settle(recorded, this.nowMs, output);
    if (output !== undefined && output !== -1) this.counts.conditionsFailed++;
    this.#record(worker, group, recorded);
    if (known && random.chance(0.05)) await this.#repeat({ database, batch, requestId, output });
  }

  /** The same write under the same id: it must answer as before and change nothing (else the history shows it). */
  async #repeat(call: {
    readonly database: Database;
    readonly batch: Batch;
    readonly requestId: string;
    readonly output: Output | undefined;
  }): Promise<void> {
    let output: Output;
    try {
      await call.database.batch(call.batch, { requestId: call.requestId, deadlineMs: 2000 });
      output = -1;
    } catch (error) {
      if (error instanceof UnavailableError || error instanceof UnknownOutcomeError) return;
      if (!(error instanceof ConditionFailedError)) throw error;
      output = error.condition;
    }
    this.counts.repeated++;
    if (output !== call.output)
      this.#options.onViolation(
        `a repeated write answered ${String(output)}, at first ${String(call.output)}`,
      );
  }

  #record(worker: number, group: string, call: Recorded): void {
    this.#line([
      worker,
      group,
      call.invoked,
      call.returned === Infinity ? null : call.returned,
      call.input,
      call.output ?? null,
    ]);
  }

  #line(fields: readonly unknown[]): void {
    this.#options.lines.write(
      `${JSON.stringify(fields, (_, value: unknown) => (typeof value === 'number' ? Math.round(value * 1000) / 1000 : value))}\n`,
    );
  }
}

function groupPrefix(group: string): Uint8Array {
  return Buffer.from(`${group}/`);
}

function encodeKey(group: string, key: number): Uint8Array {
  return Buffer.from(`${group}/${key}`);
}

function decodeKey(key: Uint8Array): number {
  return Number(Buffer.from(key).toString().split('/')[1]);
}

/** The number, and bytes that follow from it: a value that was cut or mixed up is noticed. */
function encodeValue(value: number): Uint8Array {
  return Buffer.concat([Buffer.from(`${value}:`), Buffer.alloc((value * 37) % 700, value % 251)]);
}

function decodeValue(value: Uint8Array | undefined): number {
  if (value === undefined) return 0;
  const number = parseInt(Buffer.from(value).toString('latin1'), 10);
  if (!Buffer.from(encodeValue(number)).equals(value))
    throw new Error(`a damaged value was returned: ${Buffer.from(value).toString('hex')}`);
  return number;
}

function encodeBatch(group: string, input: WriteInput): Batch {
  return {
    conditions: input.conditions.map((condition): Condition => {
      if ('empty' in condition) return { table, prefix: groupPrefix(group), empty: true };
      const key = encodeKey(group, condition.key);
      if ('exists' in condition) return { table, key, exists: condition.exists };
      return { table, key, equals: encodeValue(condition.equals) };
    }),
    operations: input.operations.map(({ key: number, value }) => {
      const key = encodeKey(group, number);
      return value === 0
        ? ({ type: 'delete', table, key } as const)
        : ({ type: 'put', table, key, value: encodeValue(value) } as const);
    }),
  };
}
