import type { ClusterMember } from './cluster_member.ts';
import type { MemberDirectory } from './peer_links.ts';
import type { PeerSet } from './peer_set.ts';
import type { Status } from './raft/types.ts';
import type { ReplicaFiles } from './replica_files.ts';
import type { StatusInfo } from './rest/service.ts';

export interface StatusSources {
  readonly id: number;
  readonly incarnation: string;
  readonly clusterId: string | undefined;
  readonly startedMs: number;
  readonly nowMs: number;
  readonly files: Pick<ReplicaFiles, 'state' | 'storage'>;
  readonly peers: PeerSet;
  readonly members: MemberDirectory;
  /** Undefined until the replica belongs to a cluster. */
  readonly member: ClusterMember | undefined;
  readonly failure: Error | undefined;
}

/** What `GET /status` says, put together from all parts of a replica. */
export function replicaStatus(sources: StatusSources): StatusInfo {
  const { id, incarnation, clusterId, files, member, members, startedMs, nowMs } = sources;
  const status = member?.driver.status();
  const failure = sources.failure ?? member?.driver.failure;
  const leader = status === undefined ? undefined : members.slotOf(status.leader);
  const nameOf = (replicaId: bigint): number | string => members.slotOf(replicaId) ?? replicaId.toString();
  const { state, storage } = files;
  const queue = member?.driver.queue();
  const freeBytes = member?.replica.lastFreeBytes;
  const reserveBytes = member?.replica.reserveBytes ?? 0;
  return {
    id,
    role: failure === undefined ? roleOf(status) : 'failed',
    term: status?.term ?? 0,
    leader_id: failure === undefined ? (leader ?? null) : null,
    commit_index: status?.commit ?? 0,
    applied_index: status?.applied ?? 0,
    last_index: status?.lastIndex ?? 0,
    voters: status?.configuration.voters.map(nameOf) ?? [],
    learners: status?.configuration.learners.map(nameOf) ?? [],
    cluster_id: clusterId ?? null,
    incarnation,
    uptime_s: Math.floor((nowMs - startedMs) / 1000),
    failure: failure?.message ?? null,
    log: {
      durable_index: status?.durableIndex ?? 0,
      snapshot_index: (status?.firstIndex ?? 1) - 1,
      ...storage.size(),
    },
    state: {
      log_time: state.applied.logTimeMs === 0 ? null : new Date(state.applied.logTimeMs).toISOString(),
      remembered_requests: state.rememberedRequests,
      command_version: state.cluster.commandVersion,
      newest_command_version: state.newestCommandVersion,
      restoring: state.cluster.restore !== undefined,
    },
    disk: {
      free_bytes: freeBytes ?? null,
      reserve_bytes: reserveBytes,
      low: freeBytes !== undefined && freeBytes < reserveBytes,
    },
    queue: {
      writes_waiting: queue?.writesWaiting ?? 0,
      writes_waiting_bytes: queue?.writesWaitingBytes ?? 0,
      writes_undecided: queue?.writesUndecided ?? 0,
      reads_waiting: queue?.readsWaiting ?? 0,
    },
    peers: peerStatus(sources, status),
  };
}

function peerStatus(
  { member, members, peers }: StatusSources,
  status: Status | undefined,
): StatusInfo['peers'] {
  return [...peers.bySlot].map(([slot, peer]) => {
    const holder = members.holderOf(slot);
    const address = peers.addressOf(slot);
    const contact = member?.contactOf(slot);
    const progress = status?.progress.find((one) => one.id === holder);
    const { voters, learners } = status?.configuration ?? { voters: [], learners: [] };
    const isIn = (ids: readonly bigint[]): boolean => holder !== undefined && ids.includes(holder);
    return {
      id: slot,
      address: address === undefined ? null : `${address.host}:${address.port}`,
      member: isIn(voters) ? 'voter' : isIn(learners) ? 'learner' : 'none',
      connection: peer.state,
      last_contact_ms: contact?.sinceMs === undefined ? null : Math.round(contact.sinceMs),
      command_version: contact?.commands ?? null,
      match_index: progress?.match ?? null,
      lag_entries: progress === undefined || status === undefined ? null : status.lastIndex - progress.match,
      progress: progress?.state ?? null,
    };
  });
}

function roleOf(status: Status | undefined): StatusInfo['role'] {
  switch (status?.role) {
    case undefined:
      return 'forming';
    case 'leader':
      return 'leader';
    case 'preCandidate':
    case 'candidate':
      return 'candidate';
    case 'follower':
      return status.configuration.voters.includes(status.id) ? 'follower' : 'learner';
  }
}
