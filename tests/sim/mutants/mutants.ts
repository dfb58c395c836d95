import { SafetyRules } from '../../../s3db/raft/rules.ts';
import type { RetainedLog } from '../../../s3db/raft/reconcile.ts';
import type { Entry, SnapshotMeta } from '../../../s3db/raft/types.ts';
import { Disk } from '../disk.ts';
import type { LogRecord } from '../disk.ts';
import { Machine } from '../machine.ts';
import type { Random } from '../random.ts';
import { CoreLife } from '../replica.ts';
import type { Overrides } from '../settings.ts';
import type { Parts } from '../simulation.ts';

/** A bug that others had, and the faults that bring it to light. */
export interface Mutant {
  readonly name: string;
  /** What it does wrong. */
  readonly bug: string;
  /** In the core: methods of SafetyRules to be replaced. */
  readonly rules?: Partial<SafetyRules>;
  /** Around the core: parts of the simulated replica. */
  readonly parts?: Parts;
  readonly faults: Overrides;
  /** Seeds within which it must be caught. */
  readonly seeds: number;
  /** It takes too many of them for the unit tests; `--mutants` runs it. */
  readonly rare?: boolean;
}

const ms = 1000;

/** Nothing but a lively cluster of three with short timeouts. */
const quiet: Overrides = {
  size: 3,
  events: 12_000,
  tick: 10 * ms,
  electionTicks: 10,
  heartbeatTicks: 2,
  clockSkew: 0,
  network: {
    delay: 2 * ms,
    loss: 0,
    duplication: 0,
    straggling: 0,
    splitting: 0,
    snapshotChunkLoss: 0,
    encoded: false,
  },
  disk: { syncDelay: 1 * ms, applyDelay: 1 * ms, stall: 0, failure: 0 },
  faults: {
    ...{
      crash: 0,
      pause: 0,
      partition: 0,
      clog: 0,
      destruction: 0,
      membership: 0,
      transfer: 0,
      newLeader: 0,
    },
    duration: 300 * ms,
  },
  workload: { thinkTime: 5 * ms, clients: 5, answerLoss: 0, deadline: 800 * ms },
};

function faults(overrides: Overrides): Overrides {
  return {
    ...quiet,
    ...overrides,
    network: { ...quiet.network, ...overrides.network },
    disk: { ...quiet.disk, ...overrides.disk },
    faults: { ...quiet.faults, ...overrides.faults },
    workload: { ...quiet.workload, ...overrides.workload },
  };
}

const partitions = { partition: 300 * ms, duration: 400 * ms };
const crashes = { crash: 300 * ms, duration: 300 * ms };
const lossy = { loss: 0.1, duplication: 0.1, straggling: 0.1 };
const slowDisk = { syncDelay: 10 * ms, stall: 0.05 };
/** Few calls, so that a run holds many elections. */
const idle = { clients: 2, thinkTime: 50 * ms };
const churn = { membership: 60 * ms };

/**
 * The numbers are those of the design's list. Of number 1, the leader that changes the configuration before it has committed in its
 * term (the erratum of 2015) needs a schedule too unlikely to be found by chance: s3db/raft/membership.test.ts walks it step by step.
 */
export const mutants: readonly Mutant[] = [
  {
    name: '1-two-changes-at-once',
    bug: 'a configuration change begins before the one before it is committed',
    rules: { mayChangeConfiguration: ({ committedInTerm }) => (committedInTerm ? 'yes' : 'notReady') },
    faults: faults({ size: 3, faults: { ...partitions, membership: 10 * ms } }),
    seeds: 200,
    rare: true,
  },
  {
    name: '2-commits-earlier-terms-by-counting',
    bug: 'an entry of an earlier term is committed by counting (figure 8)',
    rules: { countsForCommit: () => true },
    faults: faults({
      network: { splitting: 0.5, delay: 5 * ms },
      faults: { newLeader: 1, duration: 150 * ms },
      workload: idle,
    }),
    seeds: 500,
    rare: true,
  },
  {
    name: '3-commits-what-was-not-verified',
    bug: 'a follower commits as far as the leader says, although its own suffix was not compared',
    rules: { followerCommit: (leaderCommit, { lastIndex }) => Math.min(leaderCommit, lastIndex) },
    // New leaders that are cut off leave suffixes behind that nobody compares.
    faults: faults({ network: { splitting: 0.5 }, faults: { ...partitions, newLeader: 0.7 } }),
    seeds: 200,
    rare: true,
  },
  {
    name: '4-stale-append-truncates',
    bug: 'entries that match are cut off and written again',
    rules: { conflicts: () => true },
    faults: faults({ network: lossy }),
    seeds: 10,
  },
  {
    name: '5-compacted-prev-is-a-conflict',
    bug: 'an append whose prev was compacted is refused',
    rules: { compactedPrevMatches: () => false },
    faults: faults({ retainedEntries: 100, network: { loss: 0.3, straggling: 0.2 }, faults: partitions }),
    seeds: 300,
    rare: true,
  },
  {
    name: '6-hole-after-a-crash',
    bug: 'the log is no chain: a crash leaves any subset of what was not synced, and the start takes what it finds',
    parts: { newDisk: (snapshot) => new UnchainedDisk(snapshot) },
    faults: faults({ disk: slowDisk, faults: { ...partitions, ...crashes } }),
    seeds: 50,
  },
  {
    name: '7-late-write-vouches-for-others',
    bug: 'a write that ends after its entries were cut off counts for those in their place',
    rules: { durableAfterTruncation: (durable) => durable },
    faults: faults({ size: 5, maxWrites: 4, disk: { syncDelay: 20 * ms, stall: 0.1 }, faults: partitions }),
    seeds: 100,
  },
  {
    name: '8-second-vote',
    bug: 'a replica votes for every candidate that asks',
    rules: { mayVote: () => true },
    faults: faults({ size: 5, network: { ...lossy, delay: 20 * ms }, faults: { ...partitions, ...crashes } }),
    seeds: 50,
  },
  {
    name: '9-vote-before-it-is-durable',
    bug: 'a vote leaves before it is on disk',
    rules: { awaitsDisk: (message) => message.type === 'vote' || message.type === 'appendReply' },
    faults: faults({ disk: slowDisk, faults: crashes }),
    seeds: 20,
  },
  {
    name: '9-asks-before-it-is-durable',
    bug: 'votes are asked for before the own vote and the log they speak of are on disk',
    rules: { awaitsDisk: (message) => message.type === 'voteReply' || message.type === 'appendReply' },
    faults: faults({ disk: slowDisk, faults: crashes }),
    seeds: 20,
  },
  {
    name: '10-votes-by-address',
    bug: 'a message for an earlier incarnation at the same address is taken, and its answer counted',
    rules: { isAddressedTo: () => true, countsVoteOf: () => true },
    faults: faults({ faults: { ...partitions, ...crashes, ...churn, destruction: 1000 * ms } }),
    seeds: 300,
    rare: true,
  },
  {
    name: '11-forgets-its-log',
    bug: 'a replica that lost its disk comes back empty under its old id',
    parts: { forgetsIdentity: true },
    faults: faults({ faults: { ...partitions, destruction: 200 * ms } }),
    seeds: 50,
  },
  {
    name: '12-promoted-learner-does-not-vote',
    bug: 'a replica that does not know of its promotion refuses to vote',
    rules: { votesWhenNotVoter: () => false },
    faults: faults({ events: 3000, faults: { ...partitions, membership: 20 * ms } }),
    seeds: 3000,
    rare: true,
  },
  {
    name: '13-learner-campaigns',
    bug: 'a replica that is no voter stands for election',
    rules: { mayCampaign: () => true },
    faults: faults({ faults: { ...crashes, ...churn } }),
    seeds: 50,
  },
  {
    name: '14-configuration-not-rolled-back',
    bug: 'a configuration that was cut off stays in force',
    rules: { rollsBackConfiguration: () => false },
    faults: faults({ faults: { ...partitions, ...churn } }),
    seeds: 400,
    rare: true,
  },
  {
    name: '14-configuration-not-in-snapshot',
    bug: 'a snapshot leaves the receiver with the configuration it had',
    rules: { configurationOfSnapshot: (_sent, own) => own },
    faults: faults({ retainedEntries: 0, faults: { ...partitions, ...churn } }),
    seeds: 100,
  },
  {
    name: '15-pre-vote-blocks',
    bug: 'a pre-candidate that is behind in terms is not told so',
    rules: { answersStalePreVote: () => false },
    faults: faults({
      events: 3000,
      disk: slowDisk,
      faults: { partition: 100 * ms, crash: 150 * ms, duration: 200 * ms },
    }),
    seeds: 1500,
    rare: true,
  },
  {
    name: '16-read-before-commit-in-term',
    bug: 'a new leader serves reads before it has committed in its term',
    rules: { mayServeReads: () => true },
    faults: faults({
      faults: { transfer: 100 * ms, ...crashes },
      workload: { reads: 0.6, clients: 8, thinkTime: 1 * ms },
    }),
    seeds: 50,
  },
  {
    name: '17-old-round-confirms-new-read',
    bug: 'an answer to an earlier round of heartbeats confirms the round that runs',
    rules: { acknowledgedRound: (_echoed, latest) => latest },
    faults: faults({
      faults: { clog: 100 * ms, duration: 150 * ms },
      workload: { reads: 0.6, clients: 8, thinkTime: 1 * ms },
    }),
    seeds: 1000,
    rare: true,
  },
  {
    name: '19-index-without-state',
    bug: 'the applied index is written apart from the state',
    parts: { newLife: (...of) => new TearingLife(...of) },
    faults: faults({ disk: { applyDelay: 5 * ms }, faults: crashes }),
    seeds: 10,
  },
  {
    name: '20-acknowledges-before-it-is-durable',
    bug: 'a follower acknowledges entries that are not on its disk',
    rules: { awaitsDisk: (message) => message.type === 'vote' || message.type === 'voteReply' },
    faults: faults({ disk: slowDisk, faults: crashes }),
    seeds: 10,
  },
  {
    name: '20-leader-counts-itself-early',
    bug: 'a leader counts itself for entries that are not on its disk',
    rules: { ownMatch: ({ lastIndex }) => lastIndex },
    faults: faults({ disk: slowDisk, faults: crashes }),
    seeds: 10,
  },
  {
    name: '21-gap-after-an-interrupted-installation',
    bug: 'after a crash between the two steps of an installation the old log stays beside the new state',
    parts: { newDisk: (snapshot) => new UnreconciledDisk(snapshot) },
    faults: faults({
      ...{ size: 5, retainedEntries: 0 },
      disk: { syncDelay: 20 * ms },
      faults: { partition: 150 * ms, crash: 60 * ms, duration: 150 * ms },
    }),
    seeds: 400,
    rare: true,
  },
  {
    name: '22-partial-snapshot',
    bug: 'a snapshot is taken in although a chunk was lost',
    parts: { acceptsPartialSnapshots: true },
    faults: faults({ retainedEntries: 0, network: { snapshotChunkLoss: 0.3 }, faults: partitions }),
    seeds: 20,
  },
  {
    name: '23-retry-applied-twice',
    bug: 'a request is carried out again when it comes again',
    parts: { newDisk: (snapshot) => new ForgetfulDisk(snapshot) },
    faults: faults({ faults: crashes, workload: { answerLoss: 0.2, groups: 1 } }),
    seeds: 20,
  },
  {
    name: '24-disk-error-ignored',
    bug: 'a failed sync is taken for one that succeeded',
    parts: { newLife: (...of) => new DeafLife(...of) },
    faults: faults({ disk: { failure: 0.01 } }),
    seeds: 10,
  },
  {
    name: '25-flipped-bit-accepted',
    bug: 'a replica starts from a log whose bytes have changed',
    parts: { acceptsDamage: true },
    faults: faults({ retainedEntries: 200, faults: { ...partitions, destruction: 200 * ms } }),
    seeds: 50,
  },
  {
    name: '26-acknowledges-more-than-it-was-sent',
    bug: 'an acknowledgement names the end of the log instead of the end of the message',
    rules: { acknowledged: ({ lastIndex }) => lastIndex },
    faults: faults({ network: { splitting: 0.5 }, faults: partitions }),
    seeds: 200,
    rare: true,
  },
  {
    name: 'votes-for-short-logs',
    bug: 'a vote is given without comparing logs (paper 5.4.1)',
    rules: { isUpToDate: () => true },
    faults: faults({ faults: partitions }),
    seeds: 20,
  },
];

/**
 * Puts a mutant's rules in the place of the true ones, for this process, until what is returned is called. The core has no
 * option for this on purpose.
 */
export function installRules(rules: Partial<SafetyRules>): () => void {
  const prototype = SafetyRules.prototype as unknown as Record<string, unknown>;
  const before = Object.keys(rules).map((name) => [name, prototype[name]] as const);
  Object.assign(prototype, rules);
  return () => Object.assign(prototype, Object.fromEntries(before));
}

class UnchainedDisk extends Disk {
  protected override survivors(unsynced: readonly LogRecord[], random: Random): readonly LogRecord[] {
    return unsynced.filter(() => random.chance(0.5));
  }

  protected override keepEntry(entry: Entry): void {
    const at = entry.index - this.snapshot.index - 1;
    if (at >= 0) this.entries.splice(at, this.entries.length, entry);
  }
}

class UnreconciledDisk extends Disk {
  protected override reconcile(log: RetainedLog): RetainedLog {
    return log;
  }
}

class ForgetfulMachine extends Machine {
  protected override remembered(): undefined {
    return undefined;
  }
}

class ForgetfulDisk extends Disk {
  protected override newMachine(snapshot: SnapshotMeta): Machine {
    return new ForgetfulMachine(snapshot);
  }
}

class TearingLife extends CoreLife {
  protected override tearApply(entries: readonly Entry[]): void {
    const last = entries.at(-1);
    if (last !== undefined) Object.assign(this.disk.machine, { index: last.index, term: last.term });
  }
}

class DeafLife extends CoreLife {
  protected override ignoresDiskErrors(): boolean {
    return true;
  }
}
