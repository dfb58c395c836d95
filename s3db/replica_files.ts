import { join } from 'node:path';
import { Log } from '../wal/log.ts';
import type { RaftOptions } from './raft/core.ts';
import { reconcileLog } from './raft/reconcile.ts';
import type { Configuration } from './raft/types.ts';
import { RaftLogDamagedError, WalRaftStorage, type RecoveredLog } from './raft_storage.ts';
import {
  loadIdentity,
  saveIdentity,
  type ClusterIdentity,
  type ReplicaIdentity,
} from './replica_identity.ts';
import { StateMachine } from './state_machine.ts';

/** What a replica keeps on disk: `identity.json`, `log/`, `state-.../`. */
export interface ReplicaFiles {
  readonly state: StateMachine;
  readonly storage: WalRaftStorage;
  readonly recovered: RecoveredLog;
  readonly identity: ReplicaIdentity;
}

const logSegmentBytes = 32 * 1024 * 1024;
/** Raft's own bounds hold what waits far below it; a refusal would be the end of the replica. */
const maxWaitingLogBytes = 128 * 1024 * 1024;

/**
 * Opens a replica's directory, making a new one.
 * @throws RaftLogDamagedError, IdentityDamagedError, LogDamagedError, ValueDamagedError: it can't be trusted. It is to be
 * moved away; an empty one in its place joins under a new identity.
 */
export async function openReplicaFiles(directory: string, slot: number): Promise<ReplicaFiles> {
  const identity = await loadIdentity(directory, slot);
  const log = await Log.open({
    directory: join(directory, 'log'),
    segmentSizeBytes: logSegmentBytes,
    maxWaitingBytes: maxWaitingLogBytes,
  });
  const { storage, recovered } = await WalRaftStorage.open(log);
  try {
    if (identity.cluster !== undefined && recovered.snapshot === undefined) {
      throw new RaftLogDamagedError(`${directory}: the replica belongs to a cluster, but its log is gone`);
    }
    const state = await StateMachine.open(directory);
    if (identity.cluster === undefined && state.applied.index > 0) {
      await state.close();
      throw new RaftLogDamagedError(`${directory}: there is a state, but the replica's identity is gone`);
    }
    return { state, storage, recovered, identity };
  } catch (error) {
    await storage.close();
    throw error;
  }
}

/** Fixes the cluster that this replica belongs to; durable when it resolves. Only then may it vote. */
export async function enterCluster(
  directory: string,
  files: ReplicaFiles,
  entry: { readonly cluster: ClusterIdentity; readonly founder: boolean },
): Promise<ReplicaIdentity> {
  const { cluster, founder } = entry;
  const voters = founder ? cluster.founders.map((member) => member.replicaId) : [];
  const configuration: Configuration = { voters: voters.toSorted(byValue), learners: [], removed: [] };
  // The log's beginning first: an identity with a cluster promises that there is one.
  await files.storage.restart({ index: 0, term: 0, configuration }, { term: 0, vote: 0n, commit: 0 });
  const identity: ReplicaIdentity = { ...files.identity, cluster, members: cluster.founders };
  await saveIdentity(directory, identity);
  return identity;
}

/** What the Raft core starts with, log and state brought together. @throws RaftLogDamagedError */
export async function startingPoint(
  files: Pick<ReplicaFiles, 'state' | 'storage'>,
  recovered: RecoveredLog,
): Promise<Pick<RaftOptions, 'hardState' | 'log'>> {
  const { state, storage } = files;
  const { snapshot, entries, hardState } = recovered;
  if (snapshot === undefined) throw new RaftLogDamagedError('the log has no beginning');
  const { index, term } = state.applied;
  const installed = await state.installedMeta();
  const configuration = installed?.index === index ? installed.configuration : undefined;
  if (index < snapshot.index) {
    throw new RaftLogDamagedError(`the state ends at ${index}, the log begins behind ${snapshot.index}`);
  }
  const log = reconcileLog(
    { snapshot, entries },
    { index, term, configuration: configuration ?? snapshot.configuration },
  );
  if (log.changed) {
    // Only an installed snapshot may be ahead of the log or differ from it.
    if (configuration === undefined) {
      throw new RaftLogDamagedError(`the log lacks the entry ${index} of term ${term}, which was applied`);
    }
    const kept = { ...hardState, commit: index, term: Math.max(hardState.term, term) };
    const vote = kept.term === hardState.term ? hardState.vote : 0n;
    await storage.restart(log.snapshot, { ...kept, vote });
    return { hardState: { ...kept, vote }, log };
  }
  return { hardState, log };
}

function byValue(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
