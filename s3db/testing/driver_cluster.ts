import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Log } from '../../wal/log.ts';
import { encodeBatch, encodeBatchCommand } from '../command.ts';
import type { Batch } from '../database.ts';
import { RaftDriver } from '../driver.ts';
import type { ReplicaFailedError } from '../driver_errors.ts';
import type { RaftNetwork, RaftStorage } from '../driver_ports.ts';
import { nodeClock } from '../node_clock.ts';
import { decodeMessage, encodeMessage } from '../raft/codec.ts';
import type { Configuration, Message, ReplicaId } from '../raft/types.ts';
import { WalRaftStorage } from '../raft_storage.ts';
import { startingPoint } from '../replica_files.ts';
import { mintRequestId } from '../request_id.ts';
import type { Outcome } from '../request_memory.ts';
import type { Retention } from '../retained_sizes.ts';
import { StateMachine } from '../state_machine.ts';

interface RunningReplica {
  readonly driver: RaftDriver;
  readonly state: StateMachine;
  readonly storage: WalRaftStorage;
}

const timing = { tickMs: 10, electionTicks: 10, heartbeatTicks: 2 };

/** Drivers with real logs and states over a network of this process that tests can cut. */
export class DriverCluster {
  readonly ids: readonly ReplicaId[];
  readonly replicas = new Map<ReplicaId, RunningReplica>();
  readonly failures = new Map<ReplicaId, ReplicaFailedError>();
  /** Sent by anyone; for tests to count. */
  readonly sent: Message[] = [];
  readonly directory: string;
  readonly #retention: Retention | undefined;
  /** Whose ticks don't come. */
  readonly #timeless = new Set<ReplicaId>();
  /** Replicas reach those of their own side only. */
  #side = new Map<ReplicaId, number>();

  private constructor(directory: string, ids: readonly ReplicaId[], retention: Retention | undefined) {
    this.directory = directory;
    this.ids = ids;
    this.#retention = retention;
  }

  static async start(size: number, options: { readonly retention?: Retention } = {}): Promise<DriverCluster> {
    const directory = await mkdtemp(join(tmpdir(), 's3db-driver-'));
    const ids = Array.from({ length: size }, (_, i) => BigInt(i + 1));
    const cluster = new DriverCluster(directory, ids, options.retention);
    for (const id of ids) await cluster.startReplica(id);
    await cluster.leader();
    return cluster;
  }

  async startReplica(
    id: ReplicaId,
    wrap: (storage: RaftStorage) => RaftStorage = (s) => s,
  ): Promise<RunningReplica> {
    const path = join(this.directory, String(id));
    const state = await StateMachine.open(path);
    const log = await Log.open({ directory: join(path, 'log'), segmentSizeBytes: 64 * 1024 });
    const { storage, recovered } = await WalRaftStorage.open(log);
    const configuration: Configuration = { voters: this.ids, learners: [], removed: [] };
    const beginning = { index: 0, term: 0, configuration };
    if (recovered.snapshot === undefined) await storage.restart(beginning);
    const start = await startingPoint(
      { state, storage },
      { ...recovered, snapshot: recovered.snapshot ?? beginning },
    );
    const driver: RaftDriver = new RaftDriver({
      id,
      recovered: start,
      storage: wrap(storage),
      state,
      network: this.#network(id),
      clock: {
        ...nodeClock,
        every: (intervalMs, tick) =>
          nodeClock.every(intervalMs, () => {
            if (!this.#timeless.has(id)) tick();
          }),
      },
      random: Math.random,
      timing,
      onFatal: (error) => this.failures.set(id, error),
      ...(this.#retention === undefined ? {} : { retention: this.#retention }),
    });
    const replica = { driver, state, storage };
    this.replicas.set(id, replica);
    driver.start();
    return replica;
  }

  async stopReplica(id: ReplicaId): Promise<void> {
    const replica = this.replicas.get(id);
    if (replica === undefined) return;
    this.replicas.delete(id);
    await replica.driver.close();
    await replica.state.close();
    await replica.storage.close();
  }

  /** Each list is a side; whoever is in none is alone. */
  partition(...sides: readonly (readonly ReplicaId[])[]): void {
    this.#side = new Map(sides.flatMap((ids, side) => ids.map((id) => [id, side] as const)));
  }

  heal(): void {
    this.#side.clear();
  }

  /** No time passes for a replica until the returned function is called. */
  stopTime(id: ReplicaId): () => void {
    this.#timeless.add(id);
    return () => this.#timeless.delete(id);
  }

  get(id: ReplicaId): RunningReplica {
    const replica = this.replicas.get(id);
    if (replica === undefined) throw new Error(`replica ${id} does not run`);
    return replica;
  }

  /** The one that leads the highest term among these, once there is one that all of them follow. */
  async leader(among: readonly ReplicaId[] = [...this.replicas.keys()]): Promise<ReplicaId> {
    let leader: ReplicaId = 0n;
    await until('a leader', () => {
      const statuses = among.map((id) => this.get(id).driver.status());
      leader = statuses[0]?.leader ?? 0n;
      return leader !== 0n && among.includes(leader) && statuses.every((status) => status.leader === leader);
    });
    return leader;
  }

  write(
    id: ReplicaId,
    batch: Batch,
    options: { timeoutMs?: number; requestId?: Uint8Array } = {},
  ): Promise<Outcome> {
    const requestId = options.requestId ?? mintRequestId(Date.now());
    const command = encodeBatchCommand({ timestampMs: Date.now(), requestId, body: encodeBatch(batch) });
    return this.get(id).driver.propose(command, performance.now() + (options.timeoutMs ?? 5000));
  }

  async read(id: ReplicaId, key: string, timeoutMs = 5000): Promise<string | undefined> {
    const { driver, state } = this.get(id);
    await driver.readBarrier(performance.now() + timeoutMs);
    const value = await state.get('t', new Uint8Array(Buffer.from(key)));
    return value === undefined ? undefined : Buffer.from(value).toString();
  }

  /** Once all have applied the same. */
  async digests(): Promise<Set<string>> {
    const all = [...this.replicas.values()];
    await until('equal applied indexes', () => {
      const last = Math.max(...all.map(({ driver }) => driver.status().lastIndex));
      return all.every(({ state }) => state.applied.index === last);
    });
    return new Set(await Promise.all(all.map(({ state }) => state.digest())));
  }

  async close(): Promise<void> {
    for (const id of [...this.replicas.keys()]) await this.stopReplica(id);
    await rm(this.directory, { recursive: true, force: true });
  }

  #network(from: ReplicaId): RaftNetwork {
    return {
      send: (message) => {
        this.sent.push(message);
        const bytes = Buffer.concat(encodeMessage(message));
        setImmediate(() => this.#reach(from, message.to)?.driver.step(decodeMessage(bytes)));
      },
      sendSnapshot: async (message) => {
        const source = this.get(from);
        const target = this.#reach(from, message.to);
        if (target === undefined) return false;
        const snapshot = await source.state.openSnapshot((index) => source.driver.snapshotAt(index));
        const meta = await target.state.stage(snapshot.pieces()).finally(() => snapshot.close());
        this.#reach(from, message.to)?.driver.step({ ...message, meta });
        return true;
      },
    };
  }

  #reach(from: ReplicaId, to: ReplicaId): RunningReplica | undefined {
    const connected =
      this.#side.size === 0 || (this.#side.has(from) && this.#side.get(from) === this.#side.get(to));
    return connected ? this.replicas.get(to) : undefined;
  }
}

/** Polls for what has no event; throws when it doesn't come in time. */
export async function until(what: string, holds: () => boolean, timeoutMs = 60_000): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs;
  while (!holds()) {
    if (performance.now() > deadlineMs) throw new Error(`not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
