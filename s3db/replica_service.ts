import type { Registry } from 'prom-client';
import { backupStream } from './backup_stream.ts';
import type { ClusterMember } from './cluster_member.ts';
import { encodeBatch } from './command.ts';
import type { Batch, ScanPage, ScanRequest } from './database.ts';
import { ReplicaFailedError } from './driver_errors.ts';
import { InvalidRequestError, UnavailableError } from './errors.ts';
import { checkKey, checkTableName, validateBatch, ValueDamagedError } from './level_tables.ts';
import { changeMember, handOver } from './membership.ts';
import { announcement, withdrawal } from './member_table.ts';
import type { ReplicaMetrics } from './metrics.ts';
import type { MemberDirectory } from './peer_links.ts';
import type { ReplicaId } from './raft/types.ts';
import { restoring, type Replica } from './replica.ts';
import type { Restore } from './restore.ts';
import { mintRequestId } from './request_id.ts';
import type { Outcome } from './request_memory.ts';
import type { LaneService } from './link/lane_handlers.ts';
import type { DatabaseService, LeaderInfo, ReadRequest, StatusInfo } from './rest/service.ts';
import type { DbAddress } from './server_options.ts';

interface ReplicaServiceOptions {
  readonly self: DbAddress;
  readonly addressOf: (slot: number) => DbAddress | undefined;
  readonly members: MemberDirectory;
  /** Undefined until the replica belongs to a cluster. */
  readonly member: () => ClusterMember | undefined;
  readonly onFatal: (error: ReplicaFailedError) => void;
  readonly status: (failure: ReplicaFailedError | undefined) => StatusInfo;
  readonly registry: Registry;
  readonly metrics: ReplicaMetrics;
}

const maxWaiting = 4096;
/** Each holds the state as it was when it began. */
const maxBackups = 2;

/** The database as one replica offers it, from before it belongs to a cluster until it fails. */
export class ReplicaService implements DatabaseService, LaneService {
  readonly #options: ReplicaServiceOptions;
  readonly #waiting = new Set<() => void>();
  #failure: ReplicaFailedError | undefined;
  #backups = 0;

  constructor(options: ReplicaServiceOptions) {
    this.#options = options;
  }

  /** The replica belongs to a cluster now. */
  entered(): void {
    for (const wake of this.#waiting) wake();
  }

  /** The replica can't go on. */
  fail(cause: unknown): void {
    if (this.#failure !== undefined) return;
    const text = cause instanceof Error ? cause.message : String(cause);
    this.#failure = new ReplicaFailedError(`the replica failed and must stop: ${text}`, { cause });
    for (const wake of this.#waiting) wake();
    this.#options.onFatal(this.#failure);
  }

  async write(
    batch: Batch,
    request: { readonly requestId: Uint8Array; readonly timeoutMs: number },
  ): Promise<Outcome> {
    validateBatch(batch);
    return this.writeEncoded(batch, { ...request, body: encodeBatch(batch) });
  }

  async writeEncoded(
    batch: Batch,
    request: { readonly body: Uint8Array; readonly requestId: Uint8Array; readonly timeoutMs: number },
  ): Promise<Outcome> {
    const { body, requestId, timeoutMs } = request;
    const { metrics } = this.#options;
    const startMs = performance.now();
    try {
      const { member, leftMs } = await this.#member(timeoutMs);
      const makesRoom = batch.operations.every((operation) => operation.type === 'delete');
      const outcome = await member.replica.write({ body, requestId, makesRoom }, leftMs);
      metrics.writeEnded(outcome.kind, performance.now() - startMs);
      return outcome;
    } catch (error) {
      metrics.writeEnded(error instanceof Error ? error.name : 'Error', performance.now() - startMs);
      throw error;
    }
  }

  async getMany(
    gets: readonly { readonly table: string; readonly key: Uint8Array }[],
    read: ReadRequest,
  ): Promise<readonly (Uint8Array | undefined)[]> {
    for (const { table, key } of gets) {
      checkTableName(table);
      checkKey(key);
    }
    return this.#read(read, (replica) => replica.getMany(gets));
  }

  async get(table: string, key: Uint8Array, read: ReadRequest): Promise<Uint8Array | undefined> {
    checkTableName(table);
    checkKey(key);
    return this.#read(read, (replica) => replica.get(table, key));
  }

  async scan(request: ScanRequest, read: ReadRequest): Promise<ScanPage> {
    checkTableName(request.table);
    return this.#read(read, (replica) => replica.scan(request));
  }

  async leader(timeoutMs: number): Promise<LeaderInfo> {
    const { member, leftMs } = await this.#member(timeoutMs);
    const replicaId = await member.replica.leader(leftMs);
    const slot = this.#options.members.slotOf(replicaId);
    const address = slot === undefined ? undefined : this.#options.addressOf(slot);
    if (address === undefined)
      throw new UnavailableError('the leader is a replica that is not configured here');
    return { id: address.id, host: address.host, port: address.port, term: member.driver.status().term };
  }

  leaderAddress(): string | undefined {
    const leader = this.#options.member()?.driver.status().leader;
    if (leader === undefined || leader === 0n) return undefined;
    const slot = this.#options.members.slotOf(leader);
    const address = slot === undefined ? undefined : this.#options.addressOf(slot);
    return address === undefined ? undefined : `${address.host}:${address.port}`;
  }

  status(): StatusInfo {
    return this.#options.status(this.#failure);
  }

  async metrics(): Promise<{ readonly contentType: string; readonly text: string }> {
    const { registry } = this.#options;
    return { contentType: registry.contentType, text: await registry.metrics() };
  }

  healthy(): boolean {
    const member = this.#options.member();
    if (member === undefined || this.#failure !== undefined) return false;
    return member.driver.failure === undefined && member.driver.status().leader !== 0n;
  }

  async transfer(id: number, timeoutMs: number): Promise<void> {
    const { member, leftMs } = await this.#member(timeoutMs);
    const to = this.#replicaOf(id);
    const { driver } = member;
    if (driver.status().leader === to) return;
    this.#assertLeads(member);
    if (!(await handOver(driver, to, leftMs))) throw new UnavailableError(`db ${id} did not take over`);
  }

  async leave(id: number, timeoutMs: number): Promise<void> {
    const { member, leftMs } = await this.#member(timeoutMs);
    this.#assertLeads(member);
    await changeMember(member.driver, { type: 'remove', id: this.#replicaOf(id) }, leftMs);
    await this.#writeMembers(withdrawal(id), leftMs);
  }

  async join(address: DbAddress, timeoutMs: number): Promise<void> {
    await this.#writeMembers(announcement(address), timeoutMs);
  }

  async restoreBegin(id: string, timeoutMs: number): Promise<{ readonly parts: number }> {
    const { restore, leftMs } = await this.#restore(timeoutMs);
    return restore.begin(id, leftMs);
  }

  async restorePart(
    id: string,
    part: { readonly number: number; readonly batch: Batch },
    timeoutMs: number,
  ): Promise<void> {
    validateBatch(part.batch);
    const { restore, leftMs } = await this.#restore(timeoutMs);
    await restore.part(id, part, leftMs);
  }

  async restoreFinish(
    id: string,
    expected: { readonly rows: number; readonly contents: string },
    timeoutMs: number,
  ): Promise<void> {
    const { restore, leftMs } = await this.#restore(timeoutMs);
    await restore.finish(id, expected, leftMs);
  }

  async backup(timeoutMs: number): Promise<AsyncIterable<Uint8Array>> {
    const { member, leftMs } = await this.#member(timeoutMs);
    await member.replica.readBarrier(leftMs);
    if (member.state.cluster.restore !== undefined) throw new UnavailableError(restoring);
    if (this.#backups >= maxBackups)
      throw new UnavailableError(`${maxBackups} backups are being made already`);
    this.#backups++;
    try {
      const clusterId = this.status().cluster_id ?? '';
      return backupStream(await member.state.openBackup(), {
        clusterId,
        nowMs: Date.now(),
        onDamage: (error) => this.fail(error),
        onEnd: () => this.#backups--,
      });
    } catch (error) {
      this.#backups--;
      throw error;
    }
  }

  async snapshot(timeoutMs: number): Promise<{ readonly index: number }> {
    const { member } = await this.#member(timeoutMs);
    return { index: await member.driver.compactNow() };
  }

  async #restore(timeoutMs: number): Promise<{ readonly restore: Restore; readonly leftMs: number }> {
    const { member, leftMs } = await this.#member(timeoutMs);
    this.#assertLeads(member);
    return { restore: member.restore, leftMs };
  }

  async #writeMembers(batch: Batch, timeoutMs: number): Promise<void> {
    const outcome = await this.write(batch, { requestId: mintRequestId(Date.now()), timeoutMs });
    if (outcome.kind !== 'applied')
      throw new UnavailableError(`the member table did not change: ${outcome.kind}`);
  }

  #assertAlive(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  #assertLeads(member: ClusterMember): void {
    if (member.driver.status().role !== 'leader') {
      throw new UnavailableError('only the leader does this: ask the one that /v1/leader names');
    }
  }

  #replicaOf(id: number): ReplicaId {
    const replicaId = this.#options.members.holderOf(id);
    if (replicaId === undefined) throw new InvalidRequestError(`there is no db ${id}`);
    return replicaId;
  }

  async #read<T>(read: ReadRequest, run: (replica: Replica) => Promise<T>): Promise<T> {
    const { metrics } = this.#options;
    const startMs = performance.now();
    const consistency = read.stale ? 'stale' : 'linearizable';
    try {
      const { member, leftMs } = await this.#member(read.timeoutMs);
      if (!read.stale) await member.replica.readBarrier(leftMs);
      if (member.state.cluster.restore !== undefined) throw new UnavailableError(restoring);
      const answer = await run(member.replica);
      metrics.readEnded(consistency, 'ok', performance.now() - startMs);
      return answer;
    } catch (error) {
      metrics.readEnded(consistency, 'failed', performance.now() - startMs);
      // A state with one damaged row may have others: nothing of it can be trusted to be applied to.
      if (error instanceof ValueDamagedError) this.fail(error);
      throw error;
    }
  }

  /** Waits until the replica belongs to a cluster. @throws UnavailableError, ReplicaFailedError */
  async #member(timeoutMs: number): Promise<{ readonly member: ClusterMember; readonly leftMs: number }> {
    this.#assertAlive();
    const member = this.#options.member();
    if (member !== undefined) return { member, leftMs: timeoutMs };
    if (this.#waiting.size >= maxWaiting)
      throw new UnavailableError('too many requests wait for the cluster');
    const startMs = performance.now();
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, timeoutMs);
      this.#waiting.add(wake);
    });
    this.#assertAlive();
    const entered = this.#options.member();
    if (entered === undefined) throw new UnavailableError('there is no cluster yet');
    return { member: entered, leftMs: Math.max(1, timeoutMs - (performance.now() - startMs)) };
  }
}
