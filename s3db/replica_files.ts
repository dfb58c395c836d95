import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Log } from '../wal/log.ts';
import type { CommandForms } from './command.ts';
import { isDamage, OnlyCopyDamagedError } from './damage.ts';
import { UsageOfDirectoryError } from './driver_errors.ts';
import type { Logger } from './logger.ts';
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
import { noteDamage, notedDamage, setAside, setStateAside } from './set_aside.ts';
import { StateMachine } from './state_machine.ts';

/** What a replica keeps on disk: `identity.json`, `log/`, `state-.../`; `damaged-.../` is what was set aside. */
export interface ReplicaFiles {
  readonly state: StateMachine;
  readonly storage: WalRaftStorage;
  /** What the Raft core starts with; undefined until the replica belongs to a cluster. */
  readonly start: StartingPoint | undefined;
  readonly identity: ReplicaIdentity;
}

/** Log and state brought together. */
export type StartingPoint = Pick<RaftOptions, 'hardState' | 'log'>;

interface OpenOptions {
  readonly directory: string;
  readonly slot: number;
  /** There are other replicas to be rebuilt from. */
  readonly hasPeers: boolean;
  readonly logger: Logger;
  readonly nowMs: number;
  /** Default 32 MiB. */
  readonly logSegmentBytes?: number;
  readonly commandForms?: CommandForms;
}

/** Without a logger nothing is set aside. */
type WholeOptions = Pick<OpenOptions, 'directory' | 'slot' | 'logSegmentBytes' | 'commandForms'> &
  Partial<Pick<OpenOptions, 'logger'>>;

const defaultSegmentBytes = 32 * 1024 * 1024;
/** Raft's own bounds hold what waits far below it; a refusal would be the end of the replica. */
const maxWaitingLogBytes = 128 * 1024 * 1024;

/**
 * Opens a replica's directory, making a new one. What can't be trusted is set aside, and the replica begins anew under
 * another identity, to be filled by its peers: it never votes again for the one that it was.
 * @throws OnlyCopyDamagedError when there are no peers. Errors that aren't damage pass through and change nothing.
 */
export async function openReplicaFiles(options: OpenOptions): Promise<ReplicaFiles> {
  const { directory, slot, hasPeers, logger, nowMs } = options;
  await mkdir(directory, { recursive: true });
  let damage = await notedDamage(directory);
  if (damage === undefined) {
    try {
      return await openWhole(options);
    } catch (error) {
      if (!isDamage(error)) throw error;
      const reason = error instanceof Error ? error.message : String(error);
      if (!hasPeers) throw onlyCopy(directory, reason, error);
      damage = await noteDamage(directory, reason, nowMs);
    }
  }
  if (!hasPeers) throw onlyCopy(directory, damage.reason);
  const aside = await setAside(directory, slot, damage);
  logger.error(
    { reason: damage.reason, aside },
    'this replica cannot be trusted any more: it is set aside and filled anew by the others',
  );
  return openWhole(options);
}

/** Opens a directory that a replica has used, as it is. @throws for damage too, and changes nothing then. */
export async function openUndamaged(directory: string, slot: number): Promise<ReplicaFiles> {
  const noted = await notedDamage(directory);
  if (noted !== undefined)
    throw new UsageOfDirectoryError(`${directory} is to be set aside: ${noted.reason}`);
  await loadIdentity(directory, slot, { mint: false });
  return openWhole({ directory, slot });
}

function onlyCopy(directory: string, reason: string, cause?: unknown): OnlyCopyDamagedError {
  return new OnlyCopyDamagedError(
    `${directory} is damaged (${reason}), and the configuration names no other [[db]] to rebuild it from. Nothing ` +
      "was changed. Keep a copy of it; then 's3d admin db restore' into an empty directory brings back a backup",
    { cause },
  );
}

async function openWhole(options: WholeOptions): Promise<ReplicaFiles> {
  const { directory, slot } = options;
  const identity = await loadIdentity(directory, slot);
  const log = await Log.open({
    directory: join(directory, 'log'),
    segmentSizeBytes: options.logSegmentBytes ?? defaultSegmentBytes,
    maxWaitingBytes: maxWaitingLogBytes,
  });
  const { storage, recovered } = await WalRaftStorage.open(log);
  let state: StateMachine | undefined;
  try {
    const { cluster } = identity;
    if (cluster !== undefined && recovered.snapshot === undefined) {
      throw new RaftLogDamagedError(`${directory}: the replica belongs to a cluster, but its log is gone`);
    }
    state = await openState(options, recovered.snapshot?.index === 0);
    if (cluster === undefined && state.applied.index > 0) {
      throw new RaftLogDamagedError(`${directory}: there is a state, but the replica belongs to no cluster`);
    }
    const start = cluster === undefined ? undefined : await startingPoint({ state, storage }, recovered);
    return { state, storage, start, identity };
  } catch (error) {
    await state?.close();
    await storage.close();
    throw error;
  }
}

/** A state that is damaged is made anew from a log that goes back to the beginning. */
async function openState(options: WholeOptions, isAllInLog: boolean): Promise<StateMachine> {
  const { directory, logger, commandForms } = options;
  try {
    return await StateMachine.open(directory, commandForms);
  } catch (error) {
    if (!isDamage(error) || !isAllInLog || logger === undefined) throw error;
    const aside = await setStateAside(directory);
    const reason = error instanceof Error ? error.message : String(error);
    logger.error({ reason, aside }, 'the state is damaged: it is set aside and made anew from the log');
    return StateMachine.open(directory, commandForms);
  }
}

/** Fixes the cluster that this replica belongs to; durable when it resolves. Only then may it vote. */
export async function enterCluster(
  directory: string,
  files: ReplicaFiles,
  entry: { readonly cluster: ClusterIdentity; readonly founder: boolean },
): Promise<{ readonly identity: ReplicaIdentity; readonly start: StartingPoint }> {
  const { cluster, founder } = entry;
  const voters = founder ? cluster.founders.map((member) => member.replicaId) : [];
  const configuration: Configuration = { voters: voters.toSorted(byValue), learners: [], removed: [] };
  // The log's beginning first: an identity with a cluster promises that there is one.
  const snapshot = { index: 0, term: 0, configuration };
  const hardState = { term: 0, vote: 0n, commit: 0 };
  await files.storage.restart(snapshot, hardState);
  const members = cluster.founders;
  const identity: ReplicaIdentity = { ...files.identity, cluster, members, joinsOnly: undefined };
  await saveIdentity(directory, identity);
  return { identity, start: { hardState, log: { snapshot, entries: [] } } };
}

/** @throws RaftLogDamagedError when log and state don't fit together. */
export async function startingPoint(
  files: Pick<ReplicaFiles, 'state' | 'storage'>,
  recovered: RecoveredLog,
): Promise<StartingPoint> {
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
