import { createHash } from 'node:crypto';
import { ContentsDigest, type BackupRow } from './backup_file.ts';
import { BatchRound } from './batch_round.ts';
import { ByteReader, ByteWriter } from '../wal/byte_codec.ts';
import { commandVersionIn, readClusterRows, touchesClusterRows, type ClusterRows } from './cluster_rows.ts';
import {
  commandForms,
  UnknownCommandError,
  type BatchCommand,
  type CommandForms,
  type DecodedCommand,
} from './command.ts';
import type { ScanPage, ScanRequest } from './database.ts';
import type { AppliedState, OnOutcome } from './driver_ports.ts';
import { asBuffer, bytesEqual, startsWith } from './key_bytes.ts';
import { checkLevel } from '../wal/level_check/level_check.ts';
import {
  encodeKey,
  getRow,
  getRows,
  openBytesLevel,
  openValue,
  sealValue,
  tablePrefix,
  type BytesLevel,
  type LevelOperation,
} from './level_tables.ts';
import { readSnapshotMeta, writeSnapshotMeta } from './log_record_codec.ts';
import type { Entry, SnapshotMeta } from './raft/types.ts';
import {
  isRequestRow,
  isSharedRequestRow,
  requestDigest,
  RequestMemory,
  type Outcome,
} from './request_memory.ts';
import { scanLevel } from './scan.ts';
import {
  currentStateDirectory,
  removeOldStates,
  stagingDirectory,
  switchToStaged,
} from './state_directory.ts';
import { decodeSnapshot, encodeSnapshot, type SnapshotRow } from './state_snapshot.ts';

/** How far the state has come. */
interface AppliedPoint {
  readonly index: number;
  readonly term: number;
  /** The highest timestamp of any command applied. */
  readonly logTimeMs: number;
}

/** Rows as a backup holds them, and the point of the log at which they stand. */
export interface StateRows extends AppliedPoint {
  rows(): AsyncIterable<BackupRow>;
  close(): Promise<void>;
}

export interface StateSnapshot {
  readonly meta: SnapshotMeta;
  /** The bytes, to be sent once. */
  pieces(): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}

/**
 * The replicated state: tables, remembered requests and the applied point in one Level. It is a function of the log:
 * two replicas at the same index hold the same. Each round of entries becomes one synced Level batch, so that the
 * applied point never parts from the rows. After an error the state on disk is unknown: the replica must stop.
 */
export class StateMachine implements AppliedState {
  readonly #directory: string;
  readonly #forms: CommandForms;
  #level: BytesLevel;
  #cluster: ClusterRows;
  #memory: RequestMemory;
  #staged: SnapshotMeta | undefined;
  #staging = false;
  #applied: AppliedPoint;
  #rememberedRequests: number;
  #applying = false;

  private constructor(directory: string, opened: OpenedState, forms: CommandForms) {
    const { level, meta, cluster } = opened;
    this.#directory = directory;
    this.#forms = forms;
    this.#level = level;
    this.#cluster = cluster;
    this.#memory = new RequestMemory(level);
    this.#applied = { index: meta.index, term: meta.term, logTimeMs: meta.logTimeMs };
    this.#rememberedRequests = meta.rememberedRequests;
  }

  /** Opens the state in a directory, an empty one at index 0, after a check of all its files. @throws LevelDamagedError, ValueDamagedError */
  static async open(directory: string, forms: CommandForms = commandForms): Promise<StateMachine> {
    return new StateMachine(directory, await openState(await currentStateDirectory(directory), forms), forms);
  }

  /** What is durable. */
  get applied(): AppliedPoint {
    return this.#applied;
  }

  /** About how many request ids are remembered: a leader refuses writes when they are too many. */
  get rememberedRequests(): number {
    return this.#rememberedRequests;
  }

  /** What the cluster keeps of itself, as far as it is applied here. */
  get cluster(): ClusterRows {
    return this.#cluster;
  }

  /** The newest version of commands that this program knows. */
  get newestCommandVersion(): number {
    return this.#forms.newest;
  }

  /** A command as an entry holds it, in a form that every voter knows. */
  encodeCommand(command: BatchCommand): Uint8Array {
    return this.#forms.encode(command, this.#cluster.commandVersion);
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
      entry.type === 'command' ? this.#forms.decode(entry.data) : undefined,
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
    const reserved = present.filter((command) => touchesClusterRows(command.batch));
    for (const { batch } of reserved) checkKnown(commandVersionIn(batch), this.#forms);
    for (const [entry, outcome] of outcomes) onOutcome(entry, outcome);
    await this.#level.batch(operations, { sync: true });
    if (reserved.length > 0) this.#cluster = await readClusterRows(this.#level);
    this.#applied = applied;
    this.#rememberedRequests = rememberedRequests;
    this.#applying = false;
  }

  async get(table: string, key: Uint8Array): Promise<Uint8Array | undefined> {
    return this.#read((level) => getRow(level, table, key));
  }

  /** In the order of the keys, in one read of Level. */
  async getMany(
    gets: readonly { readonly table: string; readonly key: Uint8Array }[],
  ): Promise<readonly (Uint8Array | undefined)[]> {
    return this.#read((level) => getRows(level, gets));
  }

  async scan(request: ScanRequest): Promise<ScanPage> {
    return this.#read((level) => scanLevel(level, tablePrefix(request.table), request));
  }

  /** The configuration with which the state was installed, if a snapshot brought it: for a log that fell behind. */
  async installedMeta(): Promise<SnapshotMeta | undefined> {
    const stored = (await this.#level.get(installedKey)) as Uint8Array | undefined;
    return stored === undefined
      ? undefined
      : readSnapshotMeta(new ByteReader(openValue(installedKey, stored)));
  }

  /**
   * The state at one moment, to be sent to another replica. Must be closed.
   * @param configurationAt what the Raft core says of an index.
   */
  async openSnapshot(configurationAt: (index: number) => SnapshotMeta): Promise<StateSnapshot> {
    const level = this.#level;
    const snapshot = level.snapshot();
    try {
      const applied = await readMeta(level, snapshot);
      const head = { meta: configurationAt(applied.index), logTimeMs: applied.logTimeMs };
      if (head.meta.term !== applied.term)
        throw new Error(`term ${head.meta.term} at index ${applied.index}`);
      return {
        meta: head.meta,
        pieces: () => encodeSnapshot(head, sharedRows(level, { snapshot, logTimeMs: applied.logTimeMs })),
        close: () => snapshot.close(),
      };
    } catch (error) {
      await snapshot.close();
      throw error;
    }
  }

  /** The rows of all tables but the database's own, at one moment. Must be closed. */
  async openBackup(): Promise<StateRows> {
    const level = this.#level;
    const snapshot = level.snapshot();
    try {
      const { index, term, logTimeMs } = await readMeta(level, snapshot);
      return {
        index,
        term,
        logTimeMs,
        rows: () => userRows(level, snapshot),
        close: () => snapshot.close(),
      };
    } catch (error) {
      await snapshot.close();
      throw error;
    }
  }

  /** A table that has rows; undefined: there is none but the database's own. */
  async firstTable(): Promise<string | undefined> {
    const snapshot = this.#level.snapshot();
    try {
      for await (const [key] of userRows(this.#level, snapshot)) {
        return asBuffer(key).toString('latin1', 0, key.indexOf(0));
      }
      return undefined;
    } finally {
      await snapshot.close();
    }
  }

  /** The digest of what a backup would hold, but for some rows. Reads everything. */
  async contentsDigest(
    without: readonly { readonly table: string; readonly key: Uint8Array }[] = [],
  ): Promise<{ rows: number; contents: string }> {
    const digest = new ContentsDigest();
    const left = without.map(({ table, key }) => encodeKey(table, key));
    const snapshot = this.#level.snapshot();
    try {
      for await (const [key, value] of userRows(this.#level, snapshot)) {
        if (!left.some((one) => bytesEqual(one, key))) digest.add(key, value);
      }
    } finally {
      await snapshot.close();
    }
    return { rows: digest.rows, contents: asBuffer(digest.digest()).toString('hex') };
  }

  /**
   * Stages a snapshot beside the state: durable and verified when it resolves, and not yet the state. A former staged one
   * is dropped. @throws SnapshotDamagedError, ValueDamagedError; Error when another is being staged.
   */
  async stage(pieces: AsyncIterable<Uint8Array>): Promise<SnapshotMeta> {
    if (this.#staging) throw new Error('another snapshot is being staged');
    this.#staging = true;
    this.#staged = undefined;
    try {
      const level = await openBytesLevel(await stagingDirectory(this.#directory));
      try {
        this.#staged = await stageInto(level, pieces);
      } finally {
        await level.close();
      }
      return this.#staged;
    } finally {
      this.#staging = false;
    }
  }

  async install(snapshot: SnapshotMeta): Promise<void> {
    const staged = this.#staged;
    if (staged?.index !== snapshot.index || staged.term !== snapshot.term || this.#staging) {
      throw new Error(`the snapshot at ${snapshot.index} is not what is staged`);
    }
    this.#staged = undefined;
    const old = this.#level;
    const { level, meta, cluster } = await openState(await switchToStaged(this.#directory), this.#forms);
    this.#level = level;
    this.#cluster = cluster;
    this.#memory = new RequestMemory(level);
    this.#applied = { index: meta.index, term: meta.term, logTimeMs: meta.logTimeMs };
    this.#rememberedRequests = meta.rememberedRequests;
    await old.close();
    await removeOldStates(this.#directory);
  }

  /** SHA-256 over all that replicas share. Reads everything: for tests and checks of consistency. */
  async digest(): Promise<string> {
    const sum = createHash('sha256');
    const { index, term, logTimeMs } = this.#applied;
    sum.update(`${index} ${term} ${logTimeMs}\n`);
    for await (const [key, value] of this.#level.iterator()) {
      if (bytesEqual(key, metaKey) || bytesEqual(key, installedKey)) continue;
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

  /** A read that an install overtakes is made again on the new state. */
  async #read<T>(run: (level: BytesLevel) => Promise<T>): Promise<T> {
    const level = this.#level;
    try {
      return await run(level);
    } catch (error) {
      if (this.#level === level) throw error;
      return run(this.#level);
    }
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
/** The point and configuration of the snapshot that this state began with. */
const installedKey = Uint8Array.of(0, 0x69);
const metaFormat = 1;
const reservedPrefix = new Uint8Array(Buffer.from('s3db-'));

type LevelSnapshot = ReturnType<BytesLevel['snapshot']>;

function metaOperation(meta: Meta): LevelOperation {
  const out = new ByteWriter(32);
  out.u8(metaFormat);
  out.varint(meta.index);
  out.varint(meta.term);
  out.u48(meta.logTimeMs);
  out.varint(meta.rememberedRequests);
  return { type: 'put', key: metaKey, value: sealValue(metaKey, out.finish()) };
}

async function readMeta(level: BytesLevel, snapshot?: LevelSnapshot): Promise<Meta> {
  const found =
    snapshot === undefined ? level.get(metaKey) : level.get<Uint8Array, Uint8Array>(metaKey, { snapshot });
  const stored = (await found) as Uint8Array | undefined;
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

interface OpenedState {
  readonly level: BytesLevel;
  readonly meta: Meta;
  readonly cluster: ClusterRows;
}

async function openState(path: string, forms: CommandForms): Promise<OpenedState> {
  await checkLevel(path);
  const level = await openBytesLevel(path);
  try {
    const cluster = await readClusterRows(level);
    checkKnown(cluster.commandVersion, forms);
    return { level, meta: await readMeta(level), cluster };
  } catch (error) {
    await level.close();
    throw error;
  }
}

function checkKnown(version: number | undefined, forms: CommandForms): void {
  if (version === undefined || version <= forms.newest) return;
  throw new UnknownCommandError(
    `the cluster uses commands of version ${version}, this program knows ${forms.newest}: start a newer one`,
  );
}

/** What all replicas share at the moment of the snapshot, each row checked. */
async function* sharedRows(
  level: BytesLevel,
  at: { readonly snapshot: LevelSnapshot; readonly logTimeMs: number },
): AsyncGenerator<SnapshotRow> {
  const rows = level.iterator({ snapshot: at.snapshot, highWaterMarkBytes: 256 * 1024 });
  for await (const [key, stored] of rows) {
    if (bytesEqual(key, metaKey) || bytesEqual(key, installedKey)) continue;
    if (isRequestRow(key) && !isSharedRequestRow(key, at.logTimeMs)) continue;
    openValue(key, stored);
    yield [key, stored];
  }
}

/** Rows of users' tables, each checked. Table names begin with a letter, what is the machine's own with a zero. */
async function* userRows(level: BytesLevel, snapshot: LevelSnapshot): AsyncGenerator<BackupRow> {
  const rows = level.iterator({ snapshot, gte: Uint8Array.of(0x61), highWaterMarkBytes: 256 * 1024 });
  for await (const [key, stored] of rows) {
    if (!startsWith(key, reservedPrefix)) yield [key, openValue(key, stored)];
  }
}

async function stageInto(level: BytesLevel, pieces: AsyncIterable<Uint8Array>): Promise<SnapshotMeta> {
  let rememberedRequests = 0;
  const { meta, logTimeMs } = await decodeSnapshot(pieces, async (rows) => {
    for (const [key, stored] of rows) {
      openValue(key, stored);
      if (isRequestRow(key)) rememberedRequests++;
    }
    await level.batch(
      rows.map(([key, value]) => ({ type: 'put' as const, key, value })),
      { sync: true },
    );
  });
  const out = new ByteWriter(256);
  writeSnapshotMeta(out, meta);
  const installed = { type: 'put' as const, key: installedKey, value: sealValue(installedKey, out.finish()) };
  const { index, term } = meta;
  await level.batch([installed, metaOperation({ index, term, logTimeMs, rememberedRequests })], {
    sync: true,
  });
  return meta;
}
