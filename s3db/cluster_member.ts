import type { Handlers } from '../transport/transport.ts';
import { turnOn } from './cluster_rows.ts';
import { encodeBatch } from './command.ts';
import { CommandGate } from './command_gate.ts';
import { RaftDriver, type DriverTiming } from './driver.ts';
import { NotLeaderError, type ReplicaFailedError } from './driver_errors.ts';
import type { Logger } from './logger.ts';
import { handOver, joinCluster, joinHandler, joinMethod } from './membership.ts';
import { nodeClock } from './node_clock.ts';
import { PeerLinks, type MemberDirectory } from './peer_links.ts';
import type { PeerSet } from './peer_set.ts';
import { PreferredLeader } from './preferred_leader.ts';
import type { ReplicaId } from './raft/types.ts';
import { Replica } from './replica.ts';
import type { ReplicaFiles, StartingPoint } from './replica_files.ts';
import type { Member } from './replica_identity.ts';
import { mintRequestId } from './request_id.ts';
import { Restore } from './restore.ts';
import type { Retention } from './retained_sizes.ts';
import type { StateMachine } from './state_machine.ts';
import { forwardWrite, writeHandler, writeMethod } from './write_forwarding.ts';

interface ClusterMemberOptions {
  readonly identity: Member;
  readonly clusterId: Uint8Array;
  readonly files: Pick<ReplicaFiles, 'state' | 'storage'>;
  readonly start: StartingPoint;
  readonly directory: string;
  readonly peers: PeerSet;
  readonly members: MemberDirectory;
  /** The holder of a slot made itself known. */
  readonly onMember: (member: Member) => void;
  readonly logger: Logger;
  readonly onFatal: (error: ReplicaFailedError) => void;
  /** Something kept here is found damaged. */
  readonly onDamage: (error: unknown) => void;
  readonly onSnapshot: (direction: 'sent' | 'received', ok: boolean) => void;
  readonly reserveBytes?: number;
  readonly signal: AbortSignal;
  readonly timing?: DriverTiming;
  readonly retention?: Retention;
  /** Slots. */
  readonly preferredLeaders: readonly number[];
  readonly preference?: { readonly settleMs: number; readonly pauseMs: number };
}

const handOverTimeoutMs = 2000;
const choreTimeoutMs = 5000;

/** A replica that belongs to a cluster: the driver with its links, and reads and writes on top. */
export class ClusterMember {
  readonly replica: Replica;
  readonly driver: RaftDriver;
  readonly state: StateMachine;
  readonly restore: Restore;
  readonly #options: ClusterMemberOptions;
  readonly #links: PeerLinks;
  readonly #gate = new CommandGate();
  readonly #preference: PreferredLeader;
  #joining: Promise<void> | undefined;
  #chores: Promise<void> | undefined;

  private constructor(options: ClusterMemberOptions) {
    const { identity, files, clusterId, peers, members, logger, timing, retention } = options;
    this.#options = options;
    this.#preference = new PreferredLeader(options.preference);
    this.state = files.state;
    this.#links = new PeerLinks({
      clusterId,
      peers: peers.bySlot,
      members,
      logger,
      openSnapshot: () => files.state.openSnapshot((index) => this.driver.snapshotAt(index)),
      onDamage: options.onDamage,
      onSnapshot: options.onSnapshot,
      stage: (pieces) => files.state.stage(pieces),
      receive: (message) => this.driver.step(message),
    });
    this.driver = new RaftDriver({
      id: identity.replicaId,
      recovered: options.start,
      storage: files.storage,
      state: files.state,
      network: this.#links,
      clock: nodeClock,
      random: Math.random,
      onFatal: options.onFatal,
      onChange: () => this.replica.changed(),
      ...(timing === undefined ? {} : { timing }),
      ...(retention === undefined ? {} : { retention }),
    });
    this.replica = new Replica({
      driver: this.driver,
      state: files.state,
      directory: options.directory,
      ...(options.reserveBytes === undefined ? {} : { reserveBytes: options.reserveBytes }),
      forward: async (to, write, timeoutMs) => {
        const slot = members.currentSlotOf(to);
        const peer = slot === undefined ? undefined : peers.bySlot.get(slot);
        if (peer === undefined) throw new NotLeaderError('the leader is a replica that is not known here');
        return forwardWrite(peer, write, timeoutMs);
      },
    });
    this.restore = new Restore(this.replica, files.state);
  }

  static start(options: ClusterMemberOptions): ClusterMember {
    const member = new ClusterMember(options);
    member.driver.start();
    const { identity, peers, signal, logger } = options;
    if (!member.driver.status().configuration.voters.includes(identity.replicaId)) {
      member.#joining = joinCluster({
        self: identity,
        commands: options.files.state.newestCommandVersion,
        driver: member.driver,
        peers: peers.bySlot,
        signal,
        logger,
      });
      member.#joining.catch((error: unknown) => {
        logger.error(
          { error: String(error) },
          'this replica cannot join; its directory must be replaced by an empty one',
        );
      });
    }
    return member;
  }

  handlers(): Handlers {
    const links = this.#links.handlers();
    const { members, peers, logger, onMember, files } = this.#options;
    const commandVersion = (): number => files.state.cluster.commandVersion;
    const joining = { driver: this.driver, members, peers: peers.bySlot, logger, commandVersion };
    return {
      calls: {
        ...links.calls,
        [writeMethod]: writeHandler((write, timeoutMs) =>
          this.replica.writeAsLeader(write, performance.now() + timeoutMs),
        ),
        [joinMethod]: joinHandler(joining, onMember),
      },
      ...(links.notices === undefined ? {} : { notices: links.notices }),
    };
  }

  /** Of another slot: since when it is silent, and which commands it knows. */
  contactOf(slot: number): { readonly sinceMs: number | undefined; readonly commands: number | undefined } {
    const holder = this.#options.members.holderOf(slot);
    return {
      sinceMs: this.#links.sinceContactMs(slot),
      commands: holder === undefined ? undefined : this.#gate.versionOf(holder),
    };
  }

  isRetired(replicaId: ReplicaId): boolean {
    return this.driver.status().configuration.removed.includes(replicaId);
  }

  peerDown(slot: number): void {
    const holder = this.#options.members.holderOf(slot);
    if (holder === undefined) return;
    this.driver.unreachable(holder);
    this.#gate.forget(holder);
  }

  /** A replica has said which commands its program knows. */
  knowsCommands(replicaId: ReplicaId, version: number): void {
    this.#gate.report(replicaId, version);
  }

  /** What a leader does now and then, to be called about twice a second. @returns slots that are to be greeted. */
  maintain(): readonly number[] {
    const { driver } = this;
    if (driver.failure !== undefined || this.#options.signal.aborted) return [];
    this.#chores ??= this.#doChores().finally(() => (this.#chores = undefined));
    const { state } = this.#options.files;
    const mayTurnOn = state.newestCommandVersion > state.cluster.commandVersion;
    if (!mayTurnOn || driver.status().role !== 'leader') return [];
    const slots = this.#gate.unheard(driver.status()).map((id) => this.#options.members.currentSlotOf(id));
    return slots.filter((slot) => slot !== undefined);
  }

  /** At most one thing at a time, each with a deadline. */
  async #doChores(): Promise<void> {
    const { files, logger, members, peers, preferredLeaders } = this.#options;
    await this.replica.freeBytes();
    const status = this.driver.status();
    const used = files.state.cluster.commandVersion;
    const version = this.#gate.next(status, { newest: files.state.newestCommandVersion, used });
    try {
      if (version !== undefined) {
        const body = encodeBatch(turnOn(version, used));
        const requestId = mintRequestId(Date.now());
        const deadlineMs = performance.now() + choreTimeoutMs;
        const outcome = await this.replica.writeAsLeader({ body, requestId, makesRoom: true }, deadlineMs);
        logger.info(
          { version, outcome: outcome.kind },
          'every member knows newer commands: they are used now',
        );
      }
      const connected = preferredLeaders.filter(
        (slot) => peers.stateOf(slot) === 'up' || members.holderOf(slot) === status.id,
      );
      const preferred = connected.map((slot) => members.holderOf(slot)).filter((id) => id !== undefined);
      const successor = this.#preference.choose(status, preferred, performance.now());
      if (successor !== undefined) {
        const done = await handOver(this.driver, successor, handOverTimeoutMs);
        logger.info({ to: members.slotOf(successor), done }, 'leadership goes to the preferred replica');
      }
    } catch (error) {
      // Leadership moved meanwhile, or the disk is full: the next leader, or the next time, does it.
      logger.debug({ error: String(error) }, 'a chore of the leader was not done');
    }
  }

  /** If this replica leads: lets the best of the others lead, so that a shutdown costs no election timeout. */
  async handOver(): Promise<void> {
    if (this.driver.failure !== undefined) return;
    const successor = this.#successor();
    if (successor === undefined) return;
    const done = await handOver(this.driver, successor, handOverTimeoutMs);
    const slot = this.#options.members.slotOf(successor);
    this.#options.logger.info({ to: slot, done }, 'leadership is handed over');
  }

  async close(): Promise<void> {
    // A failure to join was logged where it happened.
    await this.#joining?.catch(() => undefined);
    await this.#chores;
    await this.driver.close();
  }

  #successor(): ReplicaId | undefined {
    const { role, id, progress } = this.driver.status();
    if (role !== 'leader') return undefined;
    const { members, peers } = this.#options;
    const isUp = (replicaId: ReplicaId): boolean =>
      peers.stateOf(members.currentSlotOf(replicaId) ?? 0) === 'up';
    const others = progress.filter((one) => one.id !== id && !one.learner && one.active && isUp(one.id));
    return others.toSorted((a, b) => b.match - a.match)[0]?.id;
  }
}
