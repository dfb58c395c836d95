import { createHash } from 'node:crypto';
import { BatchRound } from './batch_round.ts';
import { ByteReader, ByteWriter } from './byte_codec.ts';
import { decodeCommand, type DecodedCommand } from './command.ts';
import type { ScanPage, ScanRequest } from './database.ts';
import { bytesEqual } from './key_bytes.ts';
import {
  getRow,
  openBytesLevel,
  openValue,
  sealValue,
  tablePrefix,
  type BytesLevel,
  type LevelOperation,
} from './level_tables.ts';
import type { Entry } from './raft/types.ts';
import {
  isRequestRow,
  isSharedRequestRow,
  requestDigest,
  RequestMemory,
  type Outcome,
} from './request_memory.ts';
import { scanLevel } from './scan.ts';

/** How far the state has come. */
export interface AppliedPoint {
  readonly index: number;
  readonly term: number;
  /** The highest timestamp of any command applied. */
  readonly logTimeMs: number;
}

/** Called for each command of a round, in order, once its outcome is certain: its entry is committed. */
export type OnOutcome = (entry: Entry, outcome: Outcome) => void;

/**
 * The replicated state: tables, remembered requests and the applied point in one Level. It is a function of the log:
 * two replicas at the same index hold the same. Each round of entries becomes one synced Level batch, so that the
 * applied point never parts from the rows. After an error the state on disk is unknown: the replica must stop.
 */
export class StateMachine {
  readonly #level: BytesLevel;
  readonly #memory: RequestMemory;
  #applied: AppliedPoint;
  #rememberedRequests: number;
  #applying = false;

  private constructor(level: BytesLevel, meta: Meta) {
    this.#level = level;
    this.#memory = new RequestMemory(level);
    this.#applied = { index: meta.index, term: meta.term, logTimeMs: meta.logTimeMs };
    this.#rememberedRequests = meta.rememberedRequests;
  }

  /** Opens the state in a directory, an empty one at index 0. @throws ValueDamagedError */
  static async open(directory: string): Promise<StateMachine> {
    const level = await openBytesLevel(directory);
    try {
      return new StateMachine(level, await readMeta(level));
    } catch (error) {
      await level.close();
      throw error;
    }
  }

  /** What is durable. */
  get applied(): AppliedPoint {
    return this.#applied;
  }

  /** About how many request ids are remembered: a leader refuses writes when they are too many. */
  get rememberedRequests(): number {
    return this.#rememberedRequests;
  }

  /**
   * Applies the entries that follow the applied point. Durable when it resolves; outcomes are reported before that, for
   * they follow from the committed log alone.
   * @throws UnknownCommandError, MalformedBytesError, ValueDamagedError, and Level's errors: the replica must stop.
   */
  async apply(entries: readonly Entry[], onOutcome: OnOutcome): Promise<void> {
    if (this.#applying) throw new Error('one round of entries at a time');
    this.#applying = true;
    const last = this.#checkSequence(entries);
    const commands = entries.map((entry) =>
      entry.type === 'command' ? decodeCommand(entry.data) : undefined,
    );
    const round = new BatchRound(this.#level);
    const present = commands.filter((command) => command !== undefined);
    await Promise.all([
      round.prefetch(present.flatMap((command) => command.batch.conditions)),
      this.#memory.prefetch(present.map((command) => command.requestId)),
    ]);
    let { logTimeMs } = this.#applied;
    const outcomes: [Entry, Outcome][] = [];
    for (const [i, entry] of entries.entries()) {
      const command = commands[i];
      if (command === undefined) continue;
      logTimeMs = Math.max(logTimeMs, command.timestampMs);
      outcomes.push([entry, await this.#judge(round, command, { index: entry.index, logTimeMs })]);
    }
    const memory = await this.#memory.endRound(logTimeMs);
    const rememberedRequests = Math.max(0, this.#rememberedRequests + memory.growth);
    const applied = { index: last.index, term: last.term, logTimeMs };
    const operations: LevelOperation[] = [...round.operations(), ...memory.operations];
    operations.push(metaOperation({ ...applied, rememberedRequests }));
    for (const [entry, outcome] of outcomes) onOutcome(entry, outcome);
    await this.#level.batch(operations, { sync: true });
    this.#applied = applied;
    this.#rememberedRequests = rememberedRequests;
    this.#applying = false;
  }

  async get(table: string, key: Uint8Array): Promise<Uint8Array | undefined> {
    return getRow(this.#level, table, key);
  }

  async scan(request: ScanRequest): Promise<ScanPage> {
    return scanLevel(this.#level, tablePrefix(request.table), request);
  }

  /** SHA-256 over all that replicas share. Reads everything: for tests and checks of consistency. */
  async digest(): Promise<string> {
    const sum = createHash('sha256');
    const { index, term, logTimeMs } = this.#applied;
    sum.update(`${index} ${term} ${logTimeMs}\n`);
    for await (const [key, value] of this.#level.iterator()) {
      if (bytesEqual(key, metaKey)) continue;
      if (isRequestRow(key) && !isSharedRequestRow(key, logTimeMs)) continue;
      sum.update(`${key.length} ${value.length}\n`);
      sum.update(key);
      sum.update(value);
    }
    return sum.digest('hex');
  }

  async close(): Promise<void> {
    await this.#level.close();
  }

  async #judge(
    round: BatchRound,
    command: DecodedCommand,
    at: { readonly index: number; readonly logTimeMs: number },
  ): Promise<Outcome> {
    const digest = requestDigest(command.body);
    const before = this.#memory.recall(command.requestId, digest, at.logTimeMs);
    if (before !== undefined) return before;
    const failed = await round.evaluate(command.batch);
    const outcome: Outcome =
      failed === undefined
        ? { kind: 'applied', index: at.index }
        : { kind: 'conditionFailed', condition: failed };
    this.#memory.remember(command.requestId, digest, { logTimeMs: at.logTimeMs, outcome });
    return outcome;
  }

  #checkSequence(entries: readonly Entry[]): Entry {
    let next = this.#applied.index + 1;
    for (const entry of entries) {
      if (entry.index !== next) throw new Error(`entry ${entry.index} given, ${next} is next`);
      next++;
    }
    const last = entries.at(-1);
    if (last === undefined) throw new Error('a round holds at least one entry');
    return last;
  }
}

interface Meta extends AppliedPoint {
  readonly rememberedRequests: number;
}

const metaKey = Uint8Array.of(0, 0x6d);
const metaFormat = 1;

function metaOperation(meta: Meta): LevelOperation {
  const out = new ByteWriter(32);
  out.u8(metaFormat);
  out.varint(meta.index);
  out.varint(meta.term);
  out.u48(meta.logTimeMs);
  out.varint(meta.rememberedRequests);
  return { type: 'put', key: metaKey, value: sealValue(metaKey, out.finish()) };
}

async function readMeta(level: BytesLevel): Promise<Meta> {
  const stored = (await level.get(metaKey)) as Uint8Array | undefined;
  if (stored === undefined) return { index: 0, term: 0, logTimeMs: 0, rememberedRequests: 0 };
  const input = new ByteReader(openValue(metaKey, stored));
  const format = input.u8();
  if (format !== metaFormat) throw new Error(`the state has format ${format}, which is not known here`);
  const meta = {
    index: input.varint(),
    term: input.varint(),
    logTimeMs: input.u48(),
    rememberedRequests: input.varint(),
  };
  input.end();
  return meta;
}
