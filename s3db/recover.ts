import { randomBytes } from 'node:crypto';
import { UsageOfDirectoryError } from './driver_errors.ts';
import { decodeCommand, encodeBatch, encodeBatchCommand } from './command.ts';
import { decodeConfiguration, encodeConfiguration } from './raft/configuration_codec.ts';
import type { Configuration, Entry } from './raft/types.ts';
import { openUndamaged, type ReplicaFiles, type StartingPoint } from './replica_files.ts';
import { mintIdentity, saveIdentity } from './replica_identity.ts';
import { mintRequestId } from './request_id.ts';
import { auditHalted } from './restore.ts';
import { noteDamage } from './set_aside.ts';

/** What a replica that is down has, for the choice of whom to go on with. */
export interface Survivor {
  readonly slot: number;
  readonly directory: string;
  readonly clusterId: string;
  readonly term: number;
  readonly lastIndex: number;
  readonly lastTerm: number;
  /** Known here to be committed; what lies behind may be, too. */
  readonly commit: number;
  /** Milliseconds of the epoch, by the clock of the leader of then; 0: no write yet. */
  readonly lastWriteMs: number;
  readonly voters: number;
}

/** Looks at a directory; its process must be down. @throws Error when it is in use, damaged, or no replica's. */
export async function inspectReplica(directory: string, slot: number): Promise<Survivor> {
  return withReplica(directory, slot, async (files, start, clusterId) => {
    const last = start.log.entries.at(-1) ?? start.log.snapshot;
    return {
      slot,
      directory,
      clusterId,
      term: start.hardState.term,
      lastIndex: last.index,
      lastTerm: last.term,
      commit: Math.max(start.hardState.commit, files.state.applied.index),
      lastWriteMs: lastWriteMs(files, start),
      voters: configurationOf(start).voters.length,
    };
  });
}

/** The one that has the most, by the rule by which voters judge candidates (paper 5.4.1). */
export function mostAdvanced(survivors: readonly Survivor[]): Survivor | undefined {
  return survivors.toSorted((a, b) => b.lastTerm - a.lastTerm || b.lastIndex - a.lastIndex)[0];
}

/**
 * Makes a replica the only voter of a new cluster that begins with all that its log holds, committed or not: the majority that
 * could say is gone for good. The cluster gets a new id and the replica a new identity, so that nothing that comes back of the old one can
 * vote here; what comes back sets itself aside. It is the caller's to make sure that this is wanted.
 */
export async function recoverFrom(survivor: Survivor, nowMs: number): Promise<void> {
  const { directory, slot } = survivor;
  await withReplica(directory, slot, async ({ storage, identity }, start, clusterId) => {
    const last = start.log.entries.at(-1) ?? start.log.snapshot;
    const { replicaId } = mintIdentity(slot);
    const { voters, learners, removed } = configurationOf(start);
    const configuration = {
      voters: [replicaId],
      learners: [],
      removed: [...removed, ...voters, ...learners],
    };
    const term = start.hardState.term + 1;
    const halt = encodeBatchCommand({
      timestampMs: Math.max(nowMs, survivor.lastWriteMs),
      requestId: mintRequestId(nowMs),
      body: encodeBatch({ conditions: [], operations: [auditHalted] }),
    });
    const entries: Entry[] = [
      { term, index: last.index + 1, type: 'config', data: encodeConfiguration(configuration) },
      { term, index: last.index + 2, type: 'command', data: halt },
    ];
    // The log first: should this be all that happens, the old identity is no voter of it, and this can be done again.
    await storage.append({ hardState: { term, vote: replicaId, commit: start.hardState.commit }, entries });
    const self = { slot, replicaId };
    const former = [...(identity.cluster?.former ?? []), clusterId];
    const cluster = { id: randomBytes(16).toString('hex'), founders: [self], former };
    await saveIdentity(directory, { ...identity, replicaId, cluster, members: [self], setAside: undefined });
  });
}

/** Lets another survivor join what was made: at its next start it sets aside what it has. */
export async function supersede(survivor: Survivor, by: Survivor, nowMs: number): Promise<void> {
  await noteDamage(survivor.directory, `a new cluster was made from db ${by.slot}, which has more`, nowMs);
}

async function withReplica<T>(
  directory: string,
  slot: number,
  run: (files: ReplicaFiles, start: StartingPoint, clusterId: string) => Promise<T>,
): Promise<T> {
  const files = await openUndamaged(directory, slot);
  try {
    const { start, identity } = files;
    if (start === undefined || identity.cluster === undefined) {
      throw new UsageOfDirectoryError(`${directory}: this replica belongs to no cluster yet`);
    }
    return await run(files, start, identity.cluster.id);
  } finally {
    await files.state.close();
    await files.storage.close();
  }
}

function configurationOf({ log }: StartingPoint): Configuration {
  const change = log.entries.findLast((entry) => entry.type === 'config');
  return change === undefined ? log.snapshot.configuration : decodeConfiguration(change.data);
}

function lastWriteMs({ state }: ReplicaFiles, { log }: StartingPoint): number {
  const command = log.entries.findLast((entry) => entry.type === 'command');
  const loggedMs = command === undefined ? 0 : decodeCommand(command.data).timestampMs;
  return Math.max(loggedMs, state.applied.logTimeMs);
}
