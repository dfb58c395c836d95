import { RaftDriver } from '../../s3db/driver.ts';
import { NotLeaderError } from '../../s3db/driver_errors.ts';
import type { AppliedState, DriverClock, RaftNetwork, RaftStorage } from '../../s3db/driver_ports.ts';
import { UnavailableError } from '../../s3db/errors.ts';
import type {
  ConfigurationChange,
  Entry,
  HardState,
  Message,
  ReplicaId,
  SnapshotMeta,
  Status,
} from '../../s3db/raft/types.ts';
import type { Outcome } from '../../s3db/request_memory.ts';
import { ViolationError, watch } from './checks.ts';
import type { Watched } from './checks.ts';
import type { Disk } from './disk.ts';
import type { Machine, Result } from './machine.ts';
import type { Life, ReadAnswer, Surroundings, WriteAnswer } from './replica.ts';

/** The simulated disk said no. */
class DiskFailedError extends Error {
  override readonly name = 'DiskFailedError';
}

/** One life of a replica whose driver is the real one, over simulated ports. */
export class DrivenLife implements Life {
  readonly id: ReplicaId;
  readonly disk: Disk;
  readonly watched: Watched;
  readonly #driver: RaftDriver;
  readonly #world: Surroundings;
  readonly #snapshots = new Map<ReplicaId, (sent: boolean) => void>();
  readonly #staged = new Map<number, Machine>();
  readonly #answers = new Set<(answer: WriteAnswer) => void>();
  #tick: () => void = () => undefined;
  #dead = false;
  /** Whoever waits for what is written to be durable. */
  #waiting: { readonly resolve: () => void; readonly reject: (error: Error) => void }[] = [];
  #syncing = false;

  constructor(id: ReplicaId, disk: Disk, world: Surroundings) {
    this.id = id;
    this.disk = disk;
    this.#world = world;
    const { log, hardState } = disk.recover();
    this.watched = watch(id, disk);
    const { settings, random } = world;
    this.#driver = new RaftDriver({
      id,
      recovered: { hardState, log },
      storage: this.#storage(),
      state: this.#state(),
      network: this.#network(),
      clock: this.#clock(),
      random: () => random.float(),
      timing: {
        tickMs: world.tick / 1000,
        electionTicks: settings.electionTicks,
        heartbeatTicks: settings.heartbeatTicks,
      },
      retention: {
        entries: settings.retainedEntries * random.pick([0, 1, 1, 4]),
        bytes: 2 ** 20,
        catchUp: { entries: 1000, bytes: 2 ** 20 },
      },
      onFatal: (failure) => {
        if (failure.cause instanceof DiskFailedError) world.failed();
        else world.violated(failure.cause instanceof Error ? failure.cause : failure);
      },
      onChange: () => {
        world.checks.state(this.watched, this.#driver);
        world.checks.configuration(this.watched, this.#driver);
      },
    });
    this.#driver.start();
  }

  status(): Status {
    return this.#driver.status();
  }

  tick(): void {
    this.#tick();
  }

  step(message: Message): void {
    this.#driver.step(message);
  }

  receiveSnapshot(message: Extract<Message, { type: 'snapshot' }>, machine: Machine): void {
    this.#staged.set(machine.index, machine);
    this.#driver.step({ ...message, meta: machine.meta });
  }

  snapshotStatus(to: ReplicaId, outcome: 'sent' | 'failed'): void {
    this.#snapshots.get(to)?.(outcome === 'sent');
    this.#snapshots.delete(to);
  }

  write(data: Uint8Array, answer: (answer: WriteAnswer) => void): void {
    this.#answers.add(answer);
    const settle = (outcome: WriteAnswer): void => {
      if (this.#answers.delete(answer)) answer(outcome);
    };
    this.#driver.propose(data, this.#deadlineMs()).then(
      (outcome) => {
        if (outcome.kind === 'applied') settle({ kind: 'applied', index: outcome.index, result: 'done' });
        else if (outcome.kind === 'conditionFailed') {
          settle({ kind: 'applied', index: this.disk.machine.index, result: 'refused' });
        }
      },
      (error: unknown) => {
        const refused = error instanceof NotLeaderError || error instanceof UnavailableError;
        settle({ kind: refused ? 'refused' : 'unknown' });
      },
    );
  }

  read(answer: (answer: ReadAnswer) => void): void {
    const floor = this.#world.checks.committed;
    this.#driver.readBarrier(this.#deadlineMs()).then(
      () => {
        const { machine } = this.disk;
        if (machine.index < floor) {
          this.#world.violated(
            new ViolationError(`a read at ${machine.index}, begun when ${floor} was committed`),
          );
        } else if (!this.#dead) {
          answer({ kind: 'state', machine });
        }
      },
      () => answer({ kind: 'refused' }),
    );
  }

  change(change: ConfigurationChange): string {
    return this.#driver.proposeConfiguration(change);
  }

  transfer(to: ReplicaId): void {
    this.#driver.transferLeadership(to);
  }

  kill(): void {
    this.#dead = true;
    for (const answer of this.#answers) answer({ kind: 'unknown' });
    this.disk.crash(this.#world.random);
  }

  #deadlineMs(): number {
    const { timeline, settings } = this.#world;
    return (timeline.now + settings.workload.deadline) / 1000;
  }

  #after(delay: number, run: () => void): void {
    this.#world.timeline.after(delay, () => {
      if (!this.#dead) run();
    });
  }

  /** For what a dead process waits for. */
  #never(): Promise<never> {
    return new Promise(() => undefined);
  }

  #clock(): DriverClock {
    return {
      monotonicMs: () => this.#world.timeline.now / 1000,
      every: (_intervalMs, tick) => {
        this.#tick = tick;
        return () => {
          this.#tick = () => undefined;
        };
      },
      soon: (run) => this.#after(0, run),
      next: (run) => this.#after(0, run),
    };
  }

  #network(): RaftNetwork {
    return {
      send: (message) => {
        if (this.#dead) return;
        this.#world.checks.sent(this.watched, message);
        this.#world.send(message);
      },
      sendSnapshot: (message) => {
        if (this.#dead) return this.#never();
        if (this.disk.machine.index < message.meta.index)
          throw new ViolationError('a snapshot of what is not applied');
        return new Promise((resolve) => {
          this.#snapshots.set(message.to, resolve);
          this.#world.sendSnapshot(message, this.disk.machine.clone());
        });
      },
    };
  }

  #storage(): RaftStorage {
    return {
      append: ({ hardState, entries }) => this.#write(hardState, entries),
      restart: (snapshot, hardState) => this.#write(hardState, [], snapshot),
      compact: async (upTo) => {
        if (this.#dead) return this.#never();
        this.disk.compact(upTo);
        this.watched.terms.splice(0, upTo.index - this.watched.base);
        this.watched.base = Math.max(this.watched.base, upTo.index);
      },
    };
  }

  #write(
    hardState: HardState | undefined,
    entries: readonly Entry[],
    snapshot?: SnapshotMeta,
  ): Promise<void> {
    if (this.#dead) return this.#never();
    this.#world.checks.handedOver(this.watched, snapshot === undefined ? { entries } : { entries, snapshot });
    this.disk.write(hardState, entries, snapshot);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#sync();
    });
  }

  /** One sync at a time, for all that was written when it began. */
  #sync(): void {
    if (this.#syncing || this.#waiting.length === 0) return;
    this.#syncing = true;
    const { settings, random, calm } = this.#world;
    const covered = this.#waiting.splice(0);
    const written = this.disk.written;
    const stalls = random.chance(settings.disk.stall) && !calm;
    const fails = random.chance(settings.disk.failure) && !calm;
    this.#after(random.around(settings.disk.syncDelay) * (stalls ? 100 : 1), () => {
      this.#syncing = false;
      if (fails) {
        for (const { reject } of covered) reject(new DiskFailedError('EIO'));
        return;
      }
      this.disk.synced(written);
      for (const { resolve } of covered) resolve();
      this.#sync();
    });
  }

  #state(): AppliedState {
    const { disk } = this;
    return {
      get applied() {
        return { index: disk.machine.index, term: disk.machine.term };
      },
      apply: (entries, onOutcome) => this.#slowly(() => this.#apply(entries, onOutcome)),
      install: (snapshot) => this.#slowly(() => this.#install(snapshot)),
    };
  }

  #slowly(run: () => void): Promise<void> {
    const { settings, random } = this.#world;
    return new Promise((resolve, reject) => {
      this.#after(random.around(settings.disk.applyDelay), () => {
        try {
          run();
          resolve();
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
        }
      });
    });
  }

  #apply(entries: readonly Entry[], onOutcome: Parameters<AppliedState['apply']>[1]): void {
    for (const entry of entries) {
      const result = this.disk.machine.apply(entry);
      this.#world.checks.applied(this.watched);
      if (result !== undefined) onOutcome(entry, outcomeOf(result, entry.index));
    }
  }

  #install(snapshot: SnapshotMeta): void {
    const staged = this.#staged.get(snapshot.index);
    if (staged === undefined) throw new ViolationError('the core installs what was not staged');
    for (const index of this.#staged.keys()) if (index <= snapshot.index) this.#staged.delete(index);
    this.disk.machine = staged;
    this.#world.checks.applied(this.watched);
  }
}

function outcomeOf(result: Result, index: number): Outcome {
  switch (result) {
    case 'done':
      return { kind: 'applied', index };
    case 'refused':
      return { kind: 'conditionFailed', condition: 0 };
    case 'stale':
      return { kind: 'expired' };
  }
}
