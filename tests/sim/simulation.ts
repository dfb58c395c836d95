import { isMember, quorumSize } from '../../s3db/raft/configuration.ts';
import { decodeConfiguration } from '../../s3db/raft/configuration_codec.ts';
import type { Configuration, Message, ReplicaId } from '../../s3db/raft/types.ts';
import { Checks, ViolationError } from './checks.ts';
import { Client, beginningOf, callsOfGroup, groupModel, storeModel } from './clients.ts';
import type { History } from './clients.ts';
import { Disk } from './disk.ts';
import { checkLinearizable } from './linearizability.ts';
import { mix } from './machine.ts';
import type { Machine } from './machine.ts';
import { Network } from './network.ts';
import type { Address } from './network.ts';
import { Random } from './random.ts';
import { CoreLife } from './replica.ts';
import type { Life, Surroundings } from './replica.ts';
import { drawSettings } from './settings.ts';
import type { Overrides, Settings } from './settings.ts';
import { Timeline } from './timeline.ts';

/** What a mutant may put in the place of the simulator's own parts; the core's mutants need none of it. */
export interface Parts {
  readonly newDisk?: (snapshot: ConstructorParameters<typeof Disk>[0]) => Disk;
  readonly newLife?: (id: ReplicaId, disk: Disk, world: Surroundings) => Life;
  /** A replica whose disk was lost starts again, empty, under its old id. */
  readonly forgetsIdentity?: boolean;
  /** A replica starts although its disk is damaged. */
  readonly acceptsDamage?: boolean;
  /** A snapshot is taken in although a part of it was lost. */
  readonly acceptsPartialSnapshots?: boolean;
}

/** A replica's place: its address, its disk, and its present life, if any. */
interface Seat {
  readonly id: ReplicaId;
  readonly address: Address;
  readonly disk: Disk;
  readonly speed: number;
  life: Life | undefined;
  pausedUntil: number;
  /** Not to be started again. */
  gone: boolean;
}

export interface Outcome {
  readonly settings: Settings;
  readonly events: number;
  readonly hash: number;
  readonly violation: Error | undefined;
  /** Of the histories, one for each group of keys. */
  readonly undecided: number;
  readonly counts: {
    readonly committed: number;
    readonly terms: number;
    readonly calls: number;
    readonly unknown: number;
    readonly snapshots: number;
    readonly restarts: number;
    readonly changes: number;
  };
}

const MAX_SEATS = 9;
/** Calls whose order is searched across all groups. */
const wholeStoreCalls = 150;

/** A cluster with its clients and its misfortunes, all drawn from one seed. */
export class Simulation {
  readonly settings: Settings;
  readonly #parts: Parts;
  readonly #timeline = new Timeline();
  readonly #random: Random;
  readonly #network: Network;
  readonly #checks: Checks;
  readonly #seats = new Map<ReplicaId, Seat>();
  readonly #clients: Client[] = [];
  readonly #history: History = [];
  #nextId = 1n;
  #acknowledged = 0;
  #calm = false;
  #events = 0;
  #hash = 0;
  #snapshots = 0;
  #restarts = 0;
  #changes = 0;
  #undecided = 0;
  #violation: Error | undefined;

  constructor(seed: number, options: { overrides?: Overrides; parts?: Parts } = {}) {
    this.settings = drawSettings(seed, options.overrides);
    this.#parts = options.parts ?? {};
    this.#random = new Random(seed + 2 ** 40);
    this.#network = new Network({
      settings: this.settings.network,
      timeline: this.#timeline,
      random: this.#random.fork(),
      deliver: (to, message) => this.#deliver(to, message),
    });
    this.#checks = new Checks({ disks: () => this.#disks(), onLeader: (id) => this.#troubleFor(id) });
    this.#begin();
  }

  /** To the end, or to the first violation. */
  run(): Outcome {
    try {
      for (const _ of this.#steps());
    } catch (error) {
      this.#caught(error);
    }
    return this.#outcome();
  }

  /** The same for lives that work with promises: between two events everything that is ready comes to its end. */
  async runAsync(): Promise<Outcome> {
    try {
      for (const _ of this.#steps()) await new Promise(setImmediate);
    } catch (error) {
      this.#caught(error);
    }
    return this.#outcome();
  }

  *#steps(): Generator<void> {
    for (let i = 0; i < this.settings.events; i++) {
      this.#step();
      yield;
    }
    yield* this.#recover();
    this.#undecided = this.#checkHistory();
  }

  #caught(error: unknown): void {
    if (!(error instanceof Error)) throw error;
    this.#violation ??= error;
  }

  #outcome(): Outcome {
    return {
      settings: this.settings,
      events: this.#events,
      hash: this.#hash,
      violation: this.#violation,
      undecided: this.#undecided,
      counts: {
        committed: this.#checks.ledger.length - 1,
        terms: Math.max(...[...this.#seats.values()].map((seat) => seat.disk.hardState.term)),
        calls: this.#history.length,
        unknown: this.#history.filter((call) => call.returned === Infinity).length,
        snapshots: this.#snapshots,
        restarts: this.#restarts,
        changes: this.#changes,
      },
    };
  }

  #step(): void {
    if (this.#violation !== undefined) throw this.#violation;
    if (!this.#timeline.step()) throw new Error('nothing is left to happen');
    this.#events++;
    this.#hash = mix(this.#hash, this.#timeline.now);
  }

  // --- Birth

  #begin(): void {
    const { size, workload, faults } = this.settings;
    const voters = Array.from({ length: size }, (_, i) => BigInt(i + 1));
    for (const address of voters.keys())
      this.#start(this.#seat(address, { voters, learners: [], removed: [] }));
    for (let id = 1; id <= workload.clients; id++) this.#addClient(id);
    this.#every(faults.crash, () => this.#crashSome());
    this.#every(faults.pause, () => this.#pauseSome());
    this.#every(faults.partition, () => this.#partition());
    this.#every(faults.clog, () => this.#clog());
    this.#every(faults.destruction, () => this.#destroySome());
    this.#every(faults.membership, () => this.#changeMembership());
    this.#every(faults.transfer, () => this.#transfer());
    if (faults.destruction > 0 && faults.membership === 0)
      this.#every(faults.duration, () => this.#changeMembership());
  }

  #addClient(id: number): void {
    const client = new Client({
      id,
      settings: this.settings,
      timeline: this.#timeline,
      random: this.#random.fork(),
      history: this.#history,
      anyReplica: () => {
        const lives = this.#lives();
        return lives.length === 0 ? undefined : this.#random.pick(lives);
      },
      leader: () => this.#leader(),
      calm: () => this.#calm,
      acknowledged: (index) => {
        this.#acknowledged = Math.max(this.#acknowledged, index);
      },
      highestAcknowledged: () => this.#acknowledged,
      staleRead: (message) => {
        throw new ViolationError(message);
      },
    });
    this.#clients.push(client);
    client.start();
  }

  #seat(address: Address, configuration: Configuration): Seat {
    const id = this.#nextId++;
    const snapshot = { index: 0, term: 0, configuration };
    const disk = this.#parts.newDisk?.(snapshot) ?? new Disk(snapshot);
    const speed = 1 + (2 * this.#random.float() - 1) * this.settings.clockSkew;
    const seat: Seat = { id, address, disk, speed, life: undefined, pausedUntil: 0, gone: false };
    this.#seats.set(id, seat);
    this.#network.addressOf.set(id, address);
    return seat;
  }

  #start(seat: Seat): void {
    if (seat.life !== undefined || seat.gone) return;
    if (seat.disk.destroyed && this.#parts.forgetsIdentity !== true && this.#parts.acceptsDamage !== true)
      return;
    const life: Life = this.#newLife(seat);
    seat.life = life;
    const tick = (): void => {
      this.#during(seat, life, () => life.tick());
      if (seat.life === life) this.#timeline.after(this.settings.tick * seat.speed, tick);
    };
    this.#timeline.after(this.#random.below(this.settings.tick), tick);
  }

  #newLife(seat: Seat): Life {
    const world: Surroundings = {
      settings: this.settings,
      timeline: this.#timeline,
      random: this.#random.fork(),
      checks: this.#checks,
      send: (message) => {
        this.#note(message);
        this.#network.send(seat.address, message);
      },
      sendSnapshot: (message, machine) => this.#sendSnapshot(seat, message, machine),
      failed: () => this.#crash(seat),
      violated: (error) => {
        this.#violation ??= error;
      },
      calm: false,
      tick: this.settings.tick * seat.speed,
    };
    Object.defineProperty(world, 'calm', { get: () => this.#calm });
    return this.#parts.newLife?.(seat.id, seat.disk, world) ?? new CoreLife(seat.id, seat.disk, world);
  }

  /** Runs what concerns a life now, or when its pause is over, or never if it has ended. */
  #during(seat: Seat, life: Life | undefined, run: (life: Life) => void): void {
    if (life === undefined || seat.life !== life) return;
    if (seat.pausedUntil > this.#timeline.now) {
      this.#timeline.after(seat.pausedUntil - this.#timeline.now, () => this.#during(seat, life, run));
    } else {
      run(life);
    }
  }

  // --- Messages

  #note(message: Message): void {
    this.#hash = mix(
      mix(mix(this.#hash, message.type.length), Number(message.from) * 64 + Number(message.to)),
      message.term,
    );
  }

  #deliver(to: Address, message: Message): void {
    for (const seat of this.#seats.values()) {
      if (seat.address === to) this.#during(seat, seat.life, (life) => life.step(message));
    }
  }

  /** Some chunks, one after the other. Whoever sends learns how it ended; the receiver takes in the whole or nothing. */
  #sendSnapshot(from: Seat, message: Extract<Message, { type: 'snapshot' }>, machine: Machine): void {
    const to = this.#seats.get(message.to);
    const sender = from.life;
    const chunks = this.#random.between(1, 4);
    let delay = 0;
    let lost = to?.life === undefined || this.#network.isCut(from.address, to.address);
    for (let i = 0; i < chunks && to !== undefined; i++) {
      delay += this.#network.delay(from.address, to.address);
      if (this.#random.chance(this.settings.network.snapshotChunkLoss) && !this.#calm) {
        lost = true;
        if (this.#parts.acceptsPartialSnapshots === true) {
          lost = false;
          for (const key of [...machine.values.keys()].slice(0, 1)) machine.values.delete(key);
        }
      }
    }
    const receiver = to?.life;
    this.#timeline.after(delay, () => {
      let outcome: 'sent' | 'failed' = 'failed';
      if (!lost && to !== undefined && to.life === receiver) {
        outcome = 'sent';
        this.#snapshots++;
        this.#during(to, receiver, (life) => life.receiveSnapshot(message, machine));
      }
      // What held the snapshot up need not hold up the report too: links may be whole again by now.
      const report = Math.min(delay, 10 * this.settings.network.delay);
      this.#timeline.after(report, () =>
        this.#during(from, sender, (life) => life.snapshotStatus(message.to, outcome)),
      );
    });
  }

  // --- Who is there

  *#disks(): Iterable<readonly [ReplicaId, Disk]> {
    for (const seat of this.#seats.values()) yield [seat.id, seat.disk];
  }

  #lives(): Life[] {
    const lives: Life[] = [];
    for (const { life, pausedUntil } of this.#seats.values()) {
      if (life !== undefined && pausedUntil <= this.#timeline.now) lives.push(life);
    }
    return lives;
  }

  #leader(): Life | undefined {
    let best: Life | undefined;
    for (const life of this.#lives()) {
      const { role, term } = life.status();
      if (role === 'leader' && (best === undefined || best.status().term < term)) best = life;
    }
    return best;
  }

  #someSeat(): Seat | undefined {
    const seats = [...this.#seats.values()].filter((seat) => seat.life !== undefined);
    return seats.length === 0 ? undefined : this.#random.pick(seats);
  }

  /** Every configuration that may yet be in force somewhere. */
  #configurations(): Configuration[] {
    const found: Configuration[] = [];
    for (const { disk, life, gone } of this.#seats.values()) {
      if (gone) continue;
      found.push(disk.snapshot.configuration, life?.status().configuration ?? disk.snapshot.configuration);
      for (const entry of disk.entries)
        if (entry.type === 'config') found.push(decodeConfiguration(entry.data));
    }
    // A learner may be promoted before its leader notices that it is gone.
    const promoted = found.flatMap((configuration) =>
      configuration.learners.map((id) => ({ ...configuration, voters: [...configuration.voters, id] })),
    );
    return [...found, ...promoted].filter(({ voters }) => voters.length > 0);
  }

  /** Whether every configuration keeps a majority of voters that are up to it. */
  #majorityWithout(lost: (seat: Seat) => boolean): boolean {
    return this.#configurations().every((configuration) => {
      const left = configuration.voters.filter((id) => {
        const seat = this.#seats.get(id);
        return seat !== undefined && !seat.gone && !seat.disk.destroyed && !lost(seat);
      });
      return left.length >= quorumSize(configuration);
    });
  }

  // --- Misfortunes

  #every(mean: number, run: () => void): void {
    if (mean === 0) return;
    this.#timeline.after(this.#random.around(mean), () => {
      if (this.#calm) return;
      run();
      this.#every(mean, run);
    });
  }

  #duration(): number {
    return this.#random.around(this.settings.faults.duration);
  }

  #crash(seat: Seat): void {
    if (seat.life === undefined) return;
    seat.life.kill();
    seat.life = undefined;
    this.#restarts++;
    this.#timeline.after(this.#duration(), () => this.#start(seat));
  }

  #crashSome(): void {
    // Sometimes all at once: a power cut.
    if (this.#random.chance(0.1)) {
      for (const seat of this.#seats.values()) this.#crash(seat);
      return;
    }
    const seat = this.#random.chance(0.4) ? this.#seats.get(this.#leader()?.id ?? 0n) : this.#someSeat();
    if (seat !== undefined) this.#crash(seat);
  }

  /** A new leader crashes or is cut off while its first entries are under way: what figure 8 of the paper is made of. */
  #troubleFor(leader: ReplicaId): void {
    if (!this.#random.chance(this.settings.faults.newLeader) || this.#calm) return;
    const crashes = this.#random.chance(0.5);
    const { network, disk } = this.settings;
    this.#timeline.after(this.#random.around(2 * (network.delay + disk.syncDelay)), () => {
      const seat = this.#seats.get(leader);
      if (seat === undefined || this.#calm) return;
      if (crashes) this.#crash(seat);
      else this.#isolate([seat.address]);
      // One that gets over it is not spared.
      this.#timeline.after(2 * this.#duration(), () => {
        if (this.#leader()?.id === leader) this.#troubleFor(leader);
      });
    });
  }

  #isolate(side: readonly Address[]): void {
    const others = this.#addresses().filter((address) => !side.includes(address));
    this.#cutFor(
      side.flatMap((a) =>
        others.flatMap((b): [Address, Address][] => [
          [a, b],
          [b, a],
        ]),
      ),
    );
  }

  #cutFor(links: readonly (readonly [Address, Address])[]): void {
    for (const [from, to] of links) this.#network.cut(from, to);
    this.#timeline.after(this.#duration(), () => {
      for (const [from, to] of links) this.#network.mend(from, to);
    });
  }

  #pauseSome(): void {
    const seat = this.#someSeat();
    if (seat !== undefined) seat.pausedUntil = this.#timeline.now + this.#duration();
  }

  #addresses(): Address[] {
    return [...new Set([...this.#seats.values()].filter((seat) => !seat.gone).map((seat) => seat.address))];
  }

  #partition(): void {
    const addresses = this.#random.shuffled(this.#addresses());
    const side = new Set(addresses.slice(0, this.#random.between(1, Math.ceil(addresses.length / 2))));
    const kind = this.#random.below(4);
    const links: [Address, Address][] = [];
    for (const from of addresses) {
      for (const to of addresses) {
        if (from === to) continue;
        const across = side.has(from) !== side.has(to);
        // Both ways, out only, in only, or any links at all.
        if (kind === 0 && across) links.push([from, to]);
        else if (kind === 1 && across && side.has(from)) links.push([from, to]);
        else if (kind === 2 && across && side.has(to)) links.push([from, to]);
        else if (kind === 3 && this.#random.chance(0.3)) links.push([from, to]);
      }
    }
    this.#cutFor(links);
  }

  #clog(): void {
    const addresses = this.#addresses();
    const one = this.#random.pick(addresses);
    const [out, into] = this.#random.pick([
      [true, false],
      [false, true],
      [true, true],
    ] as const);
    for (const other of addresses) {
      if (out && this.#random.chance(0.7)) this.#network.clog(one, other, this.#duration());
      if (into && this.#random.chance(0.7)) this.#network.clog(other, one, this.#duration());
    }
  }

  #destroySome(): void {
    const seat = this.#someSeat();
    if (seat === undefined || !this.#majorityWithout((other) => other === seat)) return;
    if (this.#parts.forgetsIdentity === true) {
      this.#forget(seat);
      return;
    }
    this.#crash(seat);
    seat.disk.destroyed = true;
    if (this.#parts.acceptsDamage === true) flipBit(seat.disk, this.#random);
  }

  #forget(seat: Seat): void {
    this.#crash(seat);
    const { configuration } = seat.disk.snapshot;
    this.#seats.set(seat.id, {
      ...seat,
      disk: new Disk({ index: 0, term: 0, configuration }),
      life: undefined,
    });
    const reborn = this.#seats.get(seat.id);
    seat.gone = true;
    this.#timeline.after(this.#duration(), () => reborn !== undefined && this.#start(reborn));
  }

  #changeMembership(): void {
    const leader = this.#leader();
    if (leader === undefined) return;
    const { configuration } = leader.status();
    const propose = (change: Parameters<Life['change']>[0]): void => {
      if (leader.change(change) === 'proposed') this.#changes++;
    };
    // What must be done comes first: retire what is destroyed, then promote who has caught up, then something at random.
    const destroyed = [...this.#seats.values()].find(
      ({ id, disk }) => disk.destroyed && isMember(configuration, id),
    );
    if (destroyed !== undefined && this.#random.chance(0.7)) {
      propose({ type: 'remove', id: destroyed.id });
      return;
    }
    const learner = configuration.learners[0];
    if (learner !== undefined && this.#random.chance(0.5)) {
      propose({ type: 'promote', id: learner });
      return;
    }
    this.#retire(configuration);
    const wanted = this.#random.between(3, 7);
    if (configuration.voters.length + configuration.learners.length < wanted) this.#addReplica(propose);
    else if (this.settings.faults.membership > 0 && configuration.voters.length > 1) {
      const id = this.#random.pick(configuration.voters);
      // An operator does not take away a healthy voter from those that are left of a damaged cluster.
      if (this.#majorityWithout((seat) => seat.id === id)) propose({ type: 'remove', id });
    }
  }

  /** Whoever the committed configuration calls removed may be switched off. */
  #retire(configuration: Configuration): void {
    for (const seat of this.#seats.values()) {
      if (!configuration.removed.includes(seat.id) || seat.gone || !this.#random.chance(0.3)) continue;
      if (!this.#majorityWithout((other) => other === seat)) continue;
      seat.life?.kill();
      seat.life = undefined;
      seat.gone = true;
    }
  }

  #addReplica(propose: (change: Parameters<Life['change']>[0]) => void): void {
    const used = new Set(
      [...this.#seats.values()].filter((seat) => seat.life !== undefined).map((seat) => seat.address),
    );
    const free = Array.from({ length: MAX_SEATS }, (_, i) => i).filter((address) => !used.has(address));
    if (free.length === 0) return;
    // One that waits to be let in is asked for again.
    const configurations = this.#configurations();
    const waiting = [...this.#seats.values()].find(
      ({ id, gone, disk }) =>
        !gone &&
        !disk.destroyed &&
        !configurations.some((known) => isMember(known, id) || known.removed.includes(id)),
    );
    const seat = waiting ?? this.#seat(this.#random.pick(free), { voters: [], learners: [], removed: [] });
    this.#start(seat);
    propose({ type: 'addLearner', id: seat.id });
  }

  #transfer(): void {
    const leader = this.#leader();
    if (leader !== undefined) leader.transfer(this.#random.pick(leader.status().configuration.voters));
  }

  // --- The second phase

  /** Faults end and a majority is up: it must elect, commit, and everyone who is up must catch up. */
  *#recover(): Generator<void> {
    this.#calm = true;
    this.#network.heal();
    const down = new Set<Seat>();
    for (const seat of this.#random.shuffled([...this.#seats.values()])) {
      if (this.#random.chance(0.5) && this.#majorityWithout((other) => other === seat || down.has(other)))
        down.add(seat);
    }
    for (const seat of this.#seats.values()) {
      seat.pausedUntil = 0;
      if (down.has(seat)) {
        seat.life?.kill();
        seat.life = undefined;
        seat.gone = true;
      } else {
        this.#start(seat);
      }
    }
    // Elections may be split several times; snapshots and long logs take their time with small windows.
    const { electionTicks, tick } = this.settings;
    const bound = this.#timeline.now + 400 * electionTicks * tick;
    const target = this.#checks.ledger.length;
    while (!this.#hasRecovered(target)) {
      if (this.#timeline.now > bound) throw new ViolationError(`no recovery: ${this.#describe()}`);
      this.#step();
      yield;
    }
    for (const client of this.#clients) client.stop();
  }

  #hasRecovered(target: number): boolean {
    const leader = this.#leader();
    if (leader === undefined || leader.status().commit <= target) return false;
    const { configuration, term } = leader.status();
    return [...this.#seats.values()].every(({ id, life }) => {
      if (life === undefined || !isMember(configuration, id)) return true;
      const status = life.status();
      return status.term === term && status.applied > target;
    });
  }

  #describe(): string {
    const lines = [...this.#seats.values()].map(({ id, life, gone, disk }) => {
      if (life === undefined)
        return `${id}: down${gone ? ' for good' : ''}${disk.destroyed ? ', destroyed' : ''}`;
      const { role, term, leader, commit, applied, lastIndex, configuration } = life.status();
      return `${id}: ${role} term ${term} leader ${leader} commit ${commit} applied ${applied} last ${lastIndex} voters ${configuration.voters.join()} learners ${configuration.learners.join()}`;
    });
    return lines.join('; ');
  }

  // --- Afterwards

  #checkHistory(): number {
    let undecided = 0;
    for (let group = 0; group < this.settings.workload.groups; group++) {
      const verdict = checkLinearizable(callsOfGroup(this.#history, group), groupModel, 200_000);
      if (verdict === 'violation')
        throw new ViolationError(`the history of group ${group} is not linearizable`);
      if (verdict === 'undecided') undecided++;
    }
    // Reads of everything see one moment of all groups. The search grows fast, so only the beginning is looked at.
    const beginning = beginningOf(this.#history, wholeStoreCalls);
    const verdict = checkLinearizable(beginning, storeModel(this.settings.workload.groups), 200_000);
    if (verdict === 'violation') throw new ViolationError('the history of all groups is not linearizable');
    return undecided;
  }
}

function flipBit(disk: Disk, random: Random): void {
  const at = random.below(Math.max(1, disk.entries.length));
  const entry = disk.entries[at];
  if (entry === undefined || entry.data.length === 0 || entry.type !== 'command') return;
  const data = Uint8Array.from(entry.data);
  data[data.length - 1]! ^= 1;
  disk.entries[at] = { ...entry, data };
}
