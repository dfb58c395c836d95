import type { Handlers } from '../transport/transport.ts';
import { RaftDriver, type DriverTiming } from './driver.ts';
import { NotLeaderError, type ReplicaFailedError } from './driver_errors.ts';
import type { Logger } from './logger.ts';
import { handOver, joinCluster, joinHandler, joinMethod } from './membership.ts';
import { nodeClock } from './node_clock.ts';
import { PeerLinks, type MemberDirectory } from './peer_links.ts';
import type { PeerSet } from './peer_set.ts';
import type { ReplicaId } from './raft/types.ts';
import { Replica } from './replica.ts';
import type { ReplicaFiles, StartingPoint } from './replica_files.ts';
import type { Member } from './replica_identity.ts';
import type { Retention } from './retained_sizes.ts';
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
  readonly signal: AbortSignal;
  readonly timing?: DriverTiming;
  readonly retention?: Retention;
}

const handOverTimeoutMs = 2000;

/** A replica that belongs to a cluster: the driver with its links, and reads and writes on top. */
export class ClusterMember {
  readonly replica: Replica;
  readonly driver: RaftDriver;
  readonly #options: ClusterMemberOptions;
  readonly #links: PeerLinks;
  #joining: Promise<void> | undefined;

  private constructor(options: ClusterMemberOptions) {
    const { identity, files, clusterId, peers, members, logger, timing, retention } = options;
    this.#options = options;
    this.#links = new PeerLinks({
      clusterId,
      peers: peers.bySlot,
      members,
      logger,
      openSnapshot: () => files.state.openSnapshot((index) => this.driver.snapshotAt(index)),
      onDamage: options.onDamage,
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
      forward: async (to, write, timeoutMs) => {
        const slot = members.currentSlotOf(to);
        const peer = slot === undefined ? undefined : peers.bySlot.get(slot);
        if (peer === undefined) throw new NotLeaderError('the leader is a replica that is not known here');
        return forwardWrite(peer, write, timeoutMs);
      },
    });
  }

  static start(options: ClusterMemberOptions): ClusterMember {
    const member = new ClusterMember(options);
    member.driver.start();
    const { identity, peers, signal, logger } = options;
    if (!member.driver.status().configuration.voters.includes(identity.replicaId)) {
      member.#joining = joinCluster({
        self: identity,
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
    const { members, peers, logger, onMember } = this.#options;
    return {
      calls: {
        ...links.calls,
        [writeMethod]: writeHandler((write, timeoutMs) =>
          this.replica.writeAsLeader(write, performance.now() + timeoutMs),
        ),
        [joinMethod]: joinHandler({ driver: this.driver, members, peers: peers.bySlot, logger }, onMember),
      },
      ...(links.notices === undefined ? {} : { notices: links.notices }),
    };
  }

  isRetired(replicaId: ReplicaId): boolean {
    return this.driver.status().configuration.removed.includes(replicaId);
  }

  peerDown(slot: number): void {
    const holder = this.#options.members.holderOf(slot);
    if (holder !== undefined) this.driver.unreachable(holder);
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
