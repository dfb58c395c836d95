import type { AppliedState, DriverClock, RaftNetwork, RaftStorage } from './driver_ports.ts';
import { NotLeaderError, ReplicaFailedError } from './driver_errors.ts';
import { UnavailableError } from './errors.ts';
import { ProposalQueue } from './proposal_queue.ts';
import { RaftCore, type RaftOptions } from './raft/core.ts';
import type {
  ConfigurationChange,
  ConfigurationRefusal,
  Entry,
  Message,
  PersistMarker,
  Ready,
  ReplicaId,
  SnapshotMeta,
  Status,
  TransferRefusal,
} from './raft/types.ts';
import { ReadBarriers } from './read_barriers.ts';
import type { Outcome } from './request_memory.ts';
import { RetainedSizes, type Retention } from './retained_sizes.ts';

export interface DriverTiming {
  readonly tickMs: number;
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
}

/** Elections begin 0.8 to 1.6 seconds after the last sign of a leader. */
const defaultTiming: DriverTiming = { tickMs: 50, electionTicks: 16, heartbeatTicks: 3 };

export interface DriverOptions {
  readonly id: ReplicaId;
  /** What the storage held, reconciled with the state. */
  readonly recovered: Pick<RaftOptions, 'hardState' | 'log'>;
  readonly storage: RaftStorage;
  readonly state: AppliedState;
  readonly network: RaftNetwork;
  readonly clock: DriverClock;
  readonly random: () => number;
  readonly timing?: DriverTiming;
  readonly retention?: Retention;
  /** The replica has failed and serves nothing more; called once. The process is to end. */
  readonly onFatal: (error: ReplicaFailedError) => void;
  /** After anything that may have changed what `status()` says. */
  readonly onChange?: () => void;
}

const defaultRetention: Retention = {
  entries: 10_000,
  bytes: 16 * 1024 * 1024,
  catchUp: { entries: 200_000, bytes: 64 * 1024 * 1024 },
};
const maxInflightMessages = 64;
const maxMessageBytes = 1024 * 1024;
const maxUncommittedBytes = 32 * 1024 * 1024;
/** Log writes under way before proposals wait to share the next one. */
const maxProposingWrites = 2;
/** Committed entries that a follower lets gather before it applies them. */
const maxGathered = 64;

/** A log write under way, and what leaves once it and all before it are durable. */
interface Write {
  readonly done: Promise<void>;
  readonly persist: PersistMarker | undefined;
  readonly afterPersist: readonly Message[];
}

/**
 * Runs one Raft core: takes its batches, writes the log, sends, applies, advances. Batches are taken while earlier
 * ones are being written; the log makes one fdatasync of those that wait. Any error of log, state or core is fatal.
 */
export class RaftDriver {
  readonly #options: DriverOptions;
  readonly #core: RaftCore;
  readonly #proposals: ProposalQueue;
  readonly #reads: ReadBarriers;
  readonly #writes: Write[] = [];
  readonly #retained: RetainedSizes;
  readonly #retention: Retention;
  #writing: Promise<void> | undefined;
  #applying: Promise<void> | undefined;
  #installing = false;
  #compacting: Promise<void> | undefined;
  #pumpPlanned = false;
  /** Log writes that wait until messages have left. */
  #postponed = 0;
  /** There was a tick since the last pump. */
  #ticked = false;
  #failure: ReplicaFailedError | undefined;
  #closed = false;
  #stopTicks: (() => void) | undefined;

  constructor(options: DriverOptions) {
    const timing = options.timing ?? defaultTiming;
    this.#options = options;
    this.#retention = options.retention ?? defaultRetention;
    this.#core = new RaftCore({
      id: options.id,
      hardState: options.recovered.hardState,
      log: options.recovered.log,
      applied: options.state.applied.index,
      electionTicks: timing.electionTicks,
      heartbeatTicks: timing.heartbeatTicks,
      maxInflightMessages,
      maxMessageBytes,
      maxUncommittedBytes,
      random: options.random,
    });
    this.#retained = new RetainedSizes(options.recovered.log.snapshot.index);
    this.#retained.append(options.recovered.log.entries);
    this.#proposals = new ProposalQueue();
    this.#reads = new ReadBarriers((requestId) => this.#core.readIndex(requestId));
  }

  /** Begins to tick. */
  start(): void {
    const { clock, timing } = this.#options;
    this.#stopTicks = clock.every((timing ?? defaultTiming).tickMs, () => this.#tick());
    this.#planPump();
  }

  status(): Status {
    return this.#core.status();
  }

  /** What waits here now. */
  queue(): {
    writesWaiting: number;
    writesWaitingBytes: number;
    writesUndecided: number;
    readsWaiting: number;
  } {
    return { ...this.#proposals.sizes(), readsWaiting: this.#reads.count };
  }

  get failure(): ReplicaFailedError | undefined {
    return this.#failure;
  }

  /** Takes in a message from a peer. */
  step(message: Message): void {
    if (this.#stopped()) return;
    this.#guard(() => this.#core.step(message));
    this.#planPump();
  }

  unreachable(peer: ReplicaId): void {
    if (this.#stopped()) return;
    this.#guard(() => this.#core.unreachable(peer));
    this.#planPump();
  }

  /**
   * Proposes a command and waits until its entry is committed and judged.
   * @throws NotLeaderError, UnavailableError: it will never be applied. LeadershipLostError, UnknownOutcomeError,
   * ReplicaFailedError: it may be.
   */
  async propose(data: Uint8Array, deadlineMs: number): Promise<Outcome> {
    this.#assertRunning();
    if (this.status().role !== 'leader') throw new NotLeaderError('this replica does not lead');
    const outcome = this.#proposals.add(data, deadlineMs);
    this.#planPump();
    return outcome;
  }

  /**
   * Resolves once the applied state covers every write acknowledged anywhere before the call.
   * @throws NoReadIndexError (try again), UnavailableError at the deadline, ReplicaFailedError.
   */
  async readBarrier(deadlineMs: number): Promise<void> {
    this.#assertRunning();
    const passed = this.#reads.wait(deadlineMs);
    this.#planPump();
    return passed;
  }

  /** Appends a change of one member, or says why not; it is done when `status().configuration` shows it committed. */
  proposeConfiguration(change: ConfigurationChange): 'proposed' | ConfigurationRefusal {
    this.#assertRunning();
    const answer = this.#core.proposeConfiguration(change);
    this.#planPump();
    return typeof answer === 'string' ? answer : 'proposed';
  }

  /** Term and configuration at an index between the compacted one and commit. */
  snapshotAt(index: number): SnapshotMeta {
    return this.#core.snapshotAt(index);
  }

  transferLeadership(to: ReplicaId): 'started' | TransferRefusal {
    this.#assertRunning();
    const answer = this.#core.transferLeadership(to);
    this.#planPump();
    return answer;
  }

  /** Ends in bounded time what is being written and applied. Waiting calls are refused. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#stopTicks?.();
    this.#refuseAll(new UnavailableError('the replica is closing'));
    await this.#writing;
    await this.#applying;
    await this.#compacting;
  }

  #tick(): void {
    if (this.#stopped()) return;
    this.#guard(() => this.#core.tick());
    const nowMs = this.#options.clock.monotonicMs();
    this.#proposals.expire(nowMs);
    this.#reads.expire(nowMs);
    this.#ticked = true;
    this.#planPump();
  }

  #planPump(): void {
    if (this.#pumpPlanned) return;
    this.#pumpPlanned = true;
    const run = (): void => {
      this.#pumpPlanned = false;
      this.#guard(() => this.#pump());
    };
    // Nothing waits for the disk: what came goes at once. Else all that is there shares the next batch.
    if (this.#writes.length === 0) this.#options.clock.next(run);
    else this.#options.clock.soon(run);
  }

  /** Feeds what waits into the core and carries out what it hands over. */
  #pump(): void {
    if (this.#stopped() || this.#installing) return;
    this.#reads.startRound();
    const persisting = this.#writes.filter((write) => write.persist !== undefined).length;
    this.#proposals.feed(this.#core, { hold: persisting >= maxProposingWrites });
    this.#core.holdCommitted(this.#gathers());
    this.#ticked = false;
    while (this.#core.hasReady()) {
      const ready = this.#core.ready();
      this.#carryOut(ready);
      if (ready.snapshot !== undefined) break;
    }
    this.#proposals.followRole(this.status());
    this.#options.onChange?.();
  }

  /**
   * Nobody waits for a follower to apply, unless it reads: until the next tick entries may gather, and share a synced write of
   * the state. A leader applies at once, for that is when a write is answered.
   */
  #gathers(): boolean {
    if (this.#ticked || this.#reads.count > 0) return false;
    const { role, commit, applied } = this.#core.status();
    return role !== 'leader' && commit - applied < maxGathered;
  }

  #carryOut(ready: Ready): void {
    for (const message of ready.messages) this.#send(message);
    this.#persist(ready);
    if (ready.committed.length > 0) this.#apply(ready.committed);
    for (const read of ready.readStates) this.#reads.answer(read, this.#options.state.applied.index);
  }

  #persist(ready: Ready): void {
    const { hardState, snapshot, entries, persist, afterPersist } = ready;
    this.#retained.append(entries);
    let done: Promise<void>;
    if (snapshot !== undefined) {
      this.#installing = true;
      done = this.#install(ready);
    } else if (hardState !== undefined || entries.length > 0) {
      done = this.#append(ready);
    } else {
      if (persist === undefined && this.#writes.length === 0) {
        for (const message of afterPersist) this.#send(message);
        return;
      }
      if (persist === undefined && afterPersist.length === 0) return;
      done = Promise.resolve();
    }
    // Its failure is met when its turn comes; until then it must not count as unhandled.
    done.catch(() => undefined);
    this.#writes.push({ done, persist, afterPersist });
    this.#writing ??= this.#followWrites();
  }

  /** Messages leave before the log is written: the disks of others are to write at the same time, not after this one. */
  #append({ hardState, entries, messages }: Ready): Promise<void> {
    const { storage, clock } = this.#options;
    const append = (): Promise<void> =>
      storage.append(hardState === undefined ? { entries } : { hardState, entries });
    if (messages.length === 0 && this.#postponed === 0) return append();
    this.#postponed++;
    return new Promise((resolve, reject) => {
      clock.soon(() => {
        this.#postponed--;
        if (this.#failure === undefined) append().then(resolve, reject);
        else reject(this.#failure);
      });
    });
  }

  async #install(ready: Ready): Promise<void> {
    const { snapshot, hardState, entries } = ready;
    if (snapshot === undefined) throw new Error('no snapshot to install');
    // In the order of the batches, and the hard state before the state: else a crash between the two steps leaves a
    // state from a later term than the hard state knows, and the replica can't start.
    await Promise.all([this.#applying, ...this.#writes.map((write) => write.done)]);
    if (hardState !== undefined) await this.#options.storage.append({ hardState, entries: [] });
    await this.#options.state.install(snapshot);
    await this.#options.storage.restart(snapshot, hardState);
    if (entries.length > 0) await this.#options.storage.append({ entries });
    this.#retained.restart(snapshot.index);
    this.#retained.append(entries);
    this.#proposals.skipTo(snapshot.index);
    this.#installing = false;
    this.#reads.applied(snapshot.index);
  }

  async #followWrites(): Promise<void> {
    try {
      for (let write = this.#writes[0]; write !== undefined; write = this.#writes[0]) {
        await write.done;
        this.#writes.shift();
        if (this.#failure !== undefined) break;
        if (write.persist !== undefined) this.#core.persisted(write.persist.term, write.persist.index);
        for (const message of write.afterPersist) this.#send(message);
        this.#pump();
      }
    } catch (error) {
      this.#fail(error);
    }
    this.#writing = undefined;
  }

  #apply(entries: readonly Entry[]): void {
    this.#applying = this.#applyRound(entries).then(
      () => {
        this.#applying = undefined;
        this.#guard(() => this.#pump());
      },
      (error: unknown) => {
        this.#applying = undefined;
        this.#fail(error);
      },
    );
  }

  async #applyRound(entries: readonly Entry[]): Promise<void> {
    for (const entry of entries) if (entry.type !== 'command') this.#proposals.supersede(entry);
    await this.#options.state.apply(entries, (entry, outcome) => this.#proposals.settle(entry, outcome));
    const last = entries.at(-1);
    if (last === undefined || this.#failure !== undefined) return;
    this.#core.applied(last.index);
    this.#reads.applied(last.index);
    this.#compactIfWorthwhile(last.index);
  }

  #compactIfWorthwhile(applied: number): void {
    if (this.#compacting !== undefined || this.#installing || this.#stopped()) return;
    const upTo = this.#retained.compactionPoint(applied, this.#retention, () => this.#neededByFollowers());
    // A snapshot that came in since may have taken the place of what was applied.
    if (upTo === undefined || upTo < this.#core.status().firstIndex) return;
    void this.#compact(upTo);
  }

  /** The last index of the live follower that is furthest behind; Infinity for one that has none. */
  #neededByFollowers(): number {
    const { id, progress } = this.#core.status();
    const followers = progress.filter((one) => one.id !== id && one.live);
    return Math.min(
      ...followers.map(({ state, match, next, snapshotIndex }) => {
        if (state === 'replicate') return match;
        return state === 'snapshot' ? snapshotIndex : next - 1;
      }),
    );
  }

  #compact(upTo: number): Promise<void> {
    this.#compacting = this.#compactLog(upTo).finally(() => (this.#compacting = undefined));
    return this.#compacting;
  }

  /** Never rejects: a log that can't be compacted is the end of the replica. */
  async #compactLog(upTo: number): Promise<void> {
    try {
      const done = this.#options.storage.compact(this.#core.snapshotAt(upTo));
      this.#core.compact(upTo);
      this.#retained.compact(upTo);
      await done;
    } catch (error) {
      this.#fail(error);
    }
  }

  /**
   * Drops as much of the log as is in the state, whole segments of it from the disk. A follower that is behind gets a snapshot.
   * Resolves with the index behind which the log begins now.
   */
  async compactNow(): Promise<number> {
    this.#assertRunning();
    const { applied, firstIndex, progress } = this.#core.status();
    // What a follower that keeps up still lacks stays, else it would need a snapshot.
    const needed = progress.filter((one) => one.live && one.state === 'replicate').map((one) => one.match);
    const upTo = Math.min(applied, ...needed);
    if (this.#installing || this.#compacting !== undefined || upTo < firstIndex) return firstIndex - 1;
    await this.#compact(upTo);
    this.#assertRunning();
    return this.#core.status().firstIndex - 1;
  }

  #send(message: Message): void {
    if (message.type !== 'snapshot') {
      this.#options.network.send(message);
      return;
    }
    const report = (sent: boolean): void => {
      if (this.#stopped()) return;
      this.#guard(() => this.#core.snapshotStatus(message.to, sent ? 'sent' : 'failed'));
      this.#planPump();
    };
    this.#options.network.sendSnapshot(message).then(report, () => report(false));
  }

  #stopped(): boolean {
    return this.#closed || this.#failure !== undefined;
  }

  #assertRunning(): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#closed) throw new UnavailableError('the replica is closed');
  }

  #guard(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(cause: unknown): void {
    if (this.#failure !== undefined) return;
    const text = cause instanceof Error ? cause.message : String(cause);
    this.#failure = new ReplicaFailedError(`the replica failed and must stop: ${text}`, { cause });
    this.#stopTicks?.();
    this.#refuseAll(this.#failure);
    this.#options.onFatal(this.#failure);
  }

  #refuseAll(error: Error): void {
    this.#proposals.refuseAll(error);
    this.#reads.refuseAll(error);
  }
}
