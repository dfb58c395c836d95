import { RaftCore } from '../../s3db/raft/core.ts';
import type {
  ConfigurationChange,
  LogIndex,
  Message,
  Ready,
  ReplicaId,
  SnapshotMeta,
  Status,
  Term,
} from '../../s3db/raft/types.ts';
import { ViolationError, watch } from './checks.ts';
import type { Checks, Watched } from './checks.ts';
import type { Disk } from './disk.ts';
import type { Machine, Result } from './machine.ts';
import type { Random } from './random.ts';
import type { Settings } from './settings.ts';
import type { Timeline } from './timeline.ts';

/** What a replica needs of the world around it. */
export interface Surroundings {
  readonly settings: Settings;
  readonly timeline: Timeline;
  readonly random: Random;
  readonly checks: Checks;
  /** A message leaves. */
  send(message: Message): void;
  /** The core asks for its state to be sent to another replica. */
  sendSnapshot(message: Extract<Message, { type: 'snapshot' }>, machine: Machine): void;
  /** The disk failed: the process ends. */
  failed(): void;
  /** A promise was broken where nothing can be thrown. */
  violated(error: Error): void;
  /** Faults are over. */
  readonly calm: boolean;
  /** Of this replica's clock: how long its ticks are. */
  readonly tick: number;
}

export type WriteAnswer =
  | { readonly kind: 'applied'; readonly index: LogIndex; readonly result: Result }
  | { readonly kind: 'refused' }
  | { readonly kind: 'unknown' };
export type ReadAnswer = { readonly kind: 'state'; readonly machine: Machine } | { readonly kind: 'refused' };

interface Write {
  readonly ready: Ready;
}

/** One life of a replica, from a start to a crash. */
export interface Life {
  readonly id: ReplicaId;
  readonly disk: Disk;
  readonly watched: Watched;
  status(): Status;
  tick(): void;
  step(message: Message): void;
  /** A snapshot has come in as a whole. */
  receiveSnapshot(message: Extract<Message, { type: 'snapshot' }>, machine: Machine): void;
  /** How it went with a snapshot that was asked for. */
  snapshotStatus(to: ReplicaId, outcome: 'sent' | 'failed'): void;
  /** `answer` is called at most once; never, when nothing is known. */
  write(data: Uint8Array, answer: (answer: WriteAnswer) => void): void;
  read(answer: (answer: ReadAnswer) => void): void;
  /** @returns `proposed` or why not. */
  change(change: ConfigurationChange): string;
  transfer(to: ReplicaId): void;
  /** The process ends here and now. */
  kill(): void;
}

/** The core, and a driver that keeps the rules of `RaftCore.ready` over a simulated disk. */
export class CoreLife implements Life {
  readonly id: ReplicaId;
  readonly core: RaftCore;
  readonly watched: Watched;
  readonly disk: Disk;
  readonly #world: Surroundings;
  #dead = false;
  #pumping = false;
  /** Taken and not durable, oldest first; the first `#syncing` are being synced. */
  #writes: Write[] = [];
  #syncing = 0;
  /** The round that is being applied. */
  #applying: Ready['committed'] | undefined;
  /** Snapshots that came in and may be asked for, by index. */
  readonly #staged = new Map<LogIndex, Machine>();
  #proposals = new Map<LogIndex, { term: Term; answer: (answer: WriteAnswer) => void }>();
  #reads = new Map<number, { floor: LogIndex; answer: (answer: ReadAnswer) => void }>();
  #barriers: { index: LogIndex; answer: (answer: ReadAnswer) => void }[] = [];
  #nextRead = 1;
  readonly #retained: number;

  constructor(id: ReplicaId, disk: Disk, world: Surroundings) {
    this.id = id;
    this.disk = disk;
    this.#world = world;
    this.#retained = world.settings.retainedEntries * world.random.pick([0, 1, 1, 4]);
    const { log, hardState, applied } = disk.recover();
    const { electionTicks, heartbeatTicks, maxInflightMessages, maxMessageBytes, maxUncommittedBytes } =
      world.settings;
    this.core = new RaftCore({
      ...{ id, hardState, log, applied },
      ...{ electionTicks, heartbeatTicks, maxInflightMessages, maxMessageBytes, maxUncommittedBytes },
      random: () => world.random.float(),
    });
    this.watched = watch(id, disk);
    this.#pump();
  }

  status(): Status {
    return this.core.status();
  }

  tick(): void {
    this.core.tick();
    this.#pump();
  }

  step(message: Message): void {
    this.core.step(message);
    this.#pump();
  }

  receiveSnapshot(message: Extract<Message, { type: 'snapshot' }>, machine: Machine): void {
    this.#staged.set(machine.index, machine);
    this.core.step({ ...message, meta: machine.meta });
    this.#pump();
  }

  snapshotStatus(to: ReplicaId, outcome: 'sent' | 'failed'): void {
    this.core.snapshotStatus(to, outcome);
    this.#pump();
  }

  write(data: Uint8Array, answer: (answer: WriteAnswer) => void): void {
    const proposed = this.core.propose(data);
    if (typeof proposed === 'string') {
      answer({ kind: 'refused' });
      return;
    }
    this.#proposals.get(proposed.index)?.answer({ kind: 'refused' });
    this.#proposals.set(proposed.index, { term: proposed.term, answer });
    this.#pump();
  }

  read(answer: (answer: ReadAnswer) => void): void {
    const requestId = this.#nextRead++;
    // What is committed anywhere by now, the read must cover.
    this.#reads.set(requestId, { floor: this.#world.checks.committed, answer });
    this.core.readIndex(requestId);
    this.#pump();
  }

  change(change: ConfigurationChange): string {
    const answer = this.core.proposeConfiguration(change);
    this.#pump();
    return typeof answer === 'string' ? answer : 'proposed';
  }

  transfer(to: ReplicaId): void {
    this.core.transferLeadership(to);
    this.#pump();
  }

  kill(): void {
    this.#dead = true;
    if (this.#applying !== undefined) this.tearApply(this.#applying);
    for (const { answer } of this.#proposals.values()) answer({ kind: 'unknown' });
    for (const { answer } of this.#reads.values()) answer({ kind: 'refused' });
    for (const { answer } of this.#barriers) answer({ kind: 'refused' });
    this.disk.crash(this.#world.random);
  }

  #after(delay: number, run: () => void): void {
    this.#world.timeline.after(delay, () => {
      if (this.#dead) return;
      run();
      this.#pump();
    });
  }

  #pump(): void {
    if (this.#pumping || this.#dead) return;
    this.#pumping = true;
    const { checks, settings } = this.#world;
    while (this.#writes.length < settings.maxWrites && this.core.hasReady()) {
      const ready = this.core.ready();
      checks.handedOver(this.watched, ready);
      checks.state(this.watched, this.core);
      for (const message of ready.messages) this.#send(message);
      if (ready.persist !== undefined || (ready.afterPersist.length > 0 && this.#writes.length > 0)) {
        this.#writes.push({ ready });
      } else {
        for (const message of ready.afterPersist) this.#send(message);
      }
      if (ready.committed.length > 0) this.#apply(ready.committed);
      for (const { requestId, index, ok } of ready.readStates) this.#readState(requestId, index, ok);
    }
    this.#sync();
    checks.state(this.watched, this.core);
    this.#pumping = false;
  }

  #send(message: Message): void {
    if (message.type === 'snapshot') {
      if (this.disk.machine.index < message.meta.index)
        throw new ViolationError('a snapshot of what is not applied');
      this.#world.sendSnapshot(message, this.disk.machine.clone());
    } else {
      this.#world.checks.sent(this.watched, message);
      this.#world.send(message);
    }
  }

  // --- Disk

  /** Syncs everything that waits, up to and without a snapshot, which goes alone. */
  #sync(): void {
    if (this.#syncing > 0 || this.#writes.length === 0) return;
    const snapshotAt = this.#writes.findIndex(({ ready }) => ready.snapshot !== undefined);
    if (snapshotAt === 0) {
      this.#install();
      return;
    }
    const group = snapshotAt === -1 ? this.#writes.length : snapshotAt;
    for (const { ready } of this.#writes.slice(0, group)) this.disk.write(ready.hardState, ready.entries);
    this.#syncing = group;
    this.#fsync(() => this.#durable(group));
  }

  /** Runs `then` when all that was written is durable. */
  #fsync(then: () => void): void {
    const { settings, random, calm } = this.#world;
    const written = this.disk.written;
    const stalls = random.chance(settings.disk.stall) && !calm;
    const fails = random.chance(settings.disk.failure) && !calm;
    this.#after(random.around(settings.disk.syncDelay) * (stalls ? 100 : 1), () => {
      if (fails && !this.ignoresDiskErrors()) {
        this.#world.failed();
        return;
      }
      if (!fails) this.disk.synced(written);
      then();
    });
  }

  /** A mutant takes a failed sync for one that succeeded. */
  protected ignoresDiskErrors(): boolean {
    return false;
  }

  /** A round is atomic: a crash leaves nothing of it. In a mutant it leaves the index without the state. */
  protected tearApply(_entries: Ready['committed']): void {
    // Nothing is left.
  }

  #durable(count: number): void {
    this.#syncing = 0;
    for (const { ready } of this.#writes.splice(0, count)) {
      if (ready.persist !== undefined) this.core.persisted(ready.persist.term, ready.persist.index);
      for (const message of ready.afterPersist) this.#send(message);
    }
  }

  /** First the hard state, then the state as a whole, then the log behind it: a crash may come between any two. */
  #install(): void {
    if (this.#applying !== undefined) return;
    const ready = this.#writes[0]?.ready;
    const snapshot = ready?.snapshot;
    if (ready === undefined || snapshot === undefined) throw new Error('no snapshot to install');
    this.#syncing = 1;
    const staged = this.#stagedFor(snapshot);
    this.disk.write(ready.hardState, []);
    this.#fsync(() => {
      this.disk.machine = staged;
      this.#world.checks.applied(this.watched);
      this.disk.write(undefined, ready.entries, snapshot);
      this.#fsync(() => {
        this.#durable(1);
        this.#world.checks.configuration(this.watched, this.core);
        this.#skipTo(snapshot.index);
      });
    });
  }

  #stagedFor(snapshot: SnapshotMeta): Machine {
    const staged = this.#staged.get(snapshot.index);
    if (staged === undefined) throw new ViolationError('the core installs what was not staged');
    for (const index of this.#staged.keys()) if (index <= snapshot.index) this.#staged.delete(index);
    return staged;
  }

  // --- Applying

  #apply(entries: Ready['committed']): void {
    this.#applying = entries;
    const { settings, random, checks } = this.#world;
    this.#after(random.around(settings.disk.applyDelay), () => {
      this.#applying = undefined;
      for (const entry of entries) {
        const result = this.disk.machine.apply(entry);
        checks.applied(this.watched);
        const proposal = this.#proposals.get(entry.index);
        if (proposal === undefined) continue;
        this.#proposals.delete(entry.index);
        if (proposal.term === entry.term && result !== undefined) {
          proposal.answer({ kind: 'applied', index: entry.index, result });
        } else {
          proposal.answer({ kind: 'refused' });
        }
      }
      this.core.applied(this.disk.machine.index);
      checks.configuration(this.watched, this.core);
      this.#answerBarriers();
      this.#compact();
    });
  }

  /** What was proposed at an index that a snapshot skipped may have been committed there or not. */
  #skipTo(index: LogIndex): void {
    for (const [at, { answer }] of this.#proposals) {
      if (at > index) continue;
      this.#proposals.delete(at);
      answer({ kind: 'unknown' });
    }
    this.#answerBarriers();
  }

  #compact(): void {
    const index = this.disk.machine.index - this.#retained;
    const { firstIndex, applied } = this.core.status();
    if (index < firstIndex + this.#retained || index > applied) return;
    const meta = this.core.snapshotAt(index);
    this.core.compact(index);
    this.disk.compact(meta);
    this.watched.terms.splice(0, index - this.watched.base);
    this.watched.base = index;
  }

  // --- Reads

  #readState(requestId: number, index: LogIndex, ok: boolean): void {
    const read = this.#reads.get(requestId);
    this.#reads.delete(requestId);
    if (read === undefined) throw new ViolationError(`a read was answered twice: ${requestId}`);
    if (!ok) {
      read.answer({ kind: 'refused' });
      return;
    }
    if (index < read.floor)
      throw new ViolationError(`a read at ${index}, begun when ${read.floor} was committed`);
    this.#barriers.push({ index, answer: read.answer });
    this.#answerBarriers();
  }

  #answerBarriers(): void {
    const { machine } = this.disk;
    if (this.#barriers.length === 0) return;
    const ready = this.#barriers.filter(({ index }) => index <= machine.index);
    this.#barriers = this.#barriers.filter(({ index }) => index > machine.index);
    for (const { answer } of ready) answer({ kind: 'state', machine });
  }
}
