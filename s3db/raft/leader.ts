import { encodeConfiguration } from './configuration_codec.ts';
import { changed, isVoter, quorumSize, quorumValue } from './configuration.ts';
import { invariant } from './invariant.ts';
import type { RaftLog } from './log.ts';
import { Progress } from './progress.ts';
import { ReadRounds } from './read_index.ts';
import type { ConfirmedRead, PendingRead } from './read_index.ts';
import type { SafetyRules } from './rules.ts';
import type {
  Configuration,
  ConfigurationChange,
  ConfigurationRefusal,
  Entry,
  LogIndex,
  Message,
  ProgressStatus,
  ProposalRefusal,
  Proposed,
  ReplicaId,
  Term,
  TransferRefusal,
} from './types.ts';

/** Bounds an append of many small entries. */
export const MAX_APPEND_ENTRIES = 4096;

interface LeaderLimits {
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  readonly maxInflightMessages: number;
  readonly maxMessageBytes: number;
  readonly maxUncommittedBytes: number;
}

interface LeaderOptions {
  readonly id: ReplicaId;
  readonly term: Term;
  readonly log: RaftLog;
  readonly rules: SafetyRules;
  readonly limits: LeaderLimits;
  readonly send: (message: Message) => void;
}

type Of<Type extends Message['type']> = Extract<Message, { type: Type }>;

/** What only a leader knows, for as long as it leads one term (paper figure 2, "volatile state on leaders"). */
export class Leader {
  readonly #id: ReplicaId;
  readonly #term: Term;
  readonly #log: RaftLog;
  readonly #rules: SafetyRules;
  readonly #limits: LeaderLimits;
  readonly #send: (message: Message) => void;
  readonly #progress = new Map<ReplicaId, Progress>();
  readonly #reads: ReadRounds;
  /** The first entry of this term. */
  readonly #firstIndex: LogIndex;
  #transferee: ReplicaId = 0n;
  #uncommittedBytes = 0;
  #heartbeatTicks = 0;
  #quorumTicks = 0;
  /** A tick has passed: a commit index that nothing has carried yet is told on its own. */
  #commitIsDue = false;
  /** Commit as of the last heartbeat: what a learner must hold to be promoted. */
  #settledCommit: LogIndex;

  /** Appends the term's no-op (thesis 6.4, paper 8): with it everything before gets committed. */
  constructor(options: LeaderOptions) {
    this.#id = options.id;
    this.#term = options.term;
    this.#log = options.log;
    this.#rules = options.rules;
    this.#limits = options.limits;
    this.#send = options.send;
    this.#reads = new ReadRounds({ rules: options.rules, timeoutTicks: 2 * options.limits.electionTicks });
    this.#settledCommit = this.#log.commit;
    this.#firstIndex = this.#log.lastIndex + 1;
    this.#followConfiguration();
    this.#append('noop', new Uint8Array(0));
  }

  get transferee(): ReplicaId {
    return this.#transferee;
  }

  get #committedInTerm(): boolean {
    return this.#log.commit >= this.#firstIndex;
  }

  progressStatus(): ProgressStatus[] {
    return [...this.#progress.values()].map((progress) =>
      progress.id === this.#id
        ? {
            ...progress.status(),
            match: this.#ownMatch(),
            next: this.#log.lastIndex + 1,
            state: 'replicate',
            active: true,
            live: true,
          }
        : progress.status(),
    );
  }

  // --- Proposals

  propose(commands: readonly Uint8Array[]): Proposed | ProposalRefusal {
    invariant(commands.length > 0, 'a proposal has at least one command');
    if (this.#transferee !== 0n) return 'overloaded';
    const bytes = commands.reduce((sum, command) => sum + command.length, 0);
    if (this.#uncommittedBytes > 0 && this.#uncommittedBytes + bytes > this.#limits.maxUncommittedBytes) {
      return 'overloaded';
    }
    const index = this.#log.lastIndex + 1;
    for (const command of commands) this.#append('command', command);
    return { term: this.#term, index };
  }

  proposeConfiguration(change: ConfigurationChange): Proposed | ConfigurationRefusal {
    if (this.#transferee !== 0n) return 'transferring';
    const may = this.#rules.mayChangeConfiguration({
      committedInTerm: this.#committedInTerm,
      changeInFlight: this.#log.configurationIndex > this.#log.commit,
    });
    if (may !== 'yes') return may;
    const configuration = changed(this.#log.configuration, change);
    if (typeof configuration === 'string') return configuration;
    if (change.type === 'remove' && change.id === this.#id) return 'isLeader';
    if (change.type === 'promote' && !this.#hasCaughtUp(change.id)) return 'notCaughtUp';
    if (change.type === 'remove' && !this.#hasLiveQuorum(configuration)) return 'quorumAtRisk';
    if (change.type === 'promote' && !this.#maySpareNewcomer(configuration)) return 'quorumAtRisk';
    const index = this.#append('config', encodeConfiguration(configuration));
    this.#followConfiguration();
    return { term: this.#term, index };
  }

  /** Thesis 4.2.1: a new voter that lacks entries would hold up commits until it has them. */
  #hasCaughtUp(id: ReplicaId): boolean {
    const progress = this.#progress.get(id);
    return progress?.state === 'replicate' && progress.active && progress.match >= this.#settledCommit;
  }

  /**
   * Whether the voters that would be left can commit. To remove a healthy voter from a cluster with a dead one may leave no majority, not even one that
   * could undo it.
   */
  #hasLiveQuorum(configuration: Configuration): boolean {
    return this.#live(configuration.voters) >= quorumSize(configuration);
  }

  /**
   * Whether a newcomer that dies just as it becomes a voter leaves a majority. Beside a dead voter it might not, and nothing could ever
   * be committed again; the dead one is to be removed first. A cluster without dead voters may grow, also from one to two.
   */
  #maySpareNewcomer(configuration: Configuration): boolean {
    const { voters } = this.#log.configuration;
    const live = this.#live(voters);
    return live === voters.length || live >= quorumSize(configuration);
  }

  /** How many of the voters are live; the leader itself is. */
  #live(voters: readonly ReplicaId[]): number {
    return voters.filter((id) => id === this.#id || this.#progress.get(id)?.live === true).length;
  }

  #append(type: Entry['type'], data: Uint8Array): LogIndex {
    const index = this.#log.lastIndex + 1;
    this.#log.append({ term: this.#term, index, type, data });
    if (type === 'command') this.#uncommittedBytes += data.length;
    return index;
  }

  #followConfiguration(): void {
    const { voters, learners } = this.#log.configuration;
    for (const id of this.#progress.keys()) {
      if (!voters.includes(id) && !learners.includes(id)) this.#progress.delete(id);
    }
    for (const id of [...voters, ...learners]) {
      const learner = learners.includes(id);
      const known = this.#progress.get(id);
      if (known !== undefined) {
        known.learner = learner;
      } else {
        const next = this.#log.lastIndex + 1;
        this.#progress.set(id, new Progress(id, { next, learner, window: this.#limits.maxInflightMessages }));
      }
    }
    if (!isVoter(this.#log.configuration, this.#transferee)) this.#transferee = 0n;
  }

  // --- Replication

  /** Fills the batch that is being taken: new read rounds and whatever each follower has room for. */
  fill(): ConfirmedRead[] {
    if (this.#reads.hasWaiting && this.#rules.mayServeReads({ committedInTerm: this.#committedInTerm })) {
      this.#reads.begin(this.#log.commit);
      this.#broadcastHeartbeat();
    }
    for (const progress of this.#progress.values()) {
      if (progress.id !== this.#id) this.#sendAppends(progress);
    }
    this.#commitIsDue = false;
    return this.confirmedReads();
  }

  #sendAppends(progress: Progress): void {
    if (progress.nudge && progress.state === 'replicate') this.#sendAppend(progress);
    while (this.#wantsAppend(progress)) this.#sendAppend(progress);
  }

  #wantsAppend(progress: Progress): boolean {
    switch (progress.state) {
      case 'snapshot':
        return false;
      case 'probe':
        return !progress.waiting;
      case 'replicate':
        if (progress.windowFull) return false;
        if (progress.next <= this.#log.lastIndex) return true;
        // Followers need a commit index only to apply and to serve stale reads. The next append or read round carries it;
        // where none comes within a tick, it goes alone. Sent at once it would double the messages of a single writer.
        return this.#commitIsDue && progress.sentCommit < this.#log.commit;
    }
  }

  #sendAppend(progress: Progress): void {
    const log = this.#log;
    const prevIndex = progress.next - 1;
    const prevTerm = prevIndex < log.baseIndex ? undefined : log.termAt(prevIndex);
    if (prevTerm === undefined) {
      this.#sendSnapshot(progress);
      return;
    }
    const withheld = progress.windowFull || progress.next > log.lastIndex;
    const limit = { to: prevIndex + MAX_APPEND_ENTRIES, maxBytes: this.#limits.maxMessageBytes };
    const entries = withheld ? [] : log.slice(progress.next, limit);
    const commit = log.commit;
    this.#send({ ...this.#to(progress.id), type: 'append', prevIndex, prevTerm, entries, commit });
    progress.sent(prevIndex + entries.length, commit);
  }

  #sendSnapshot(progress: Progress): void {
    // The state machine holds applied; anything newer isn't in it yet.
    const meta = this.#log.snapshotAt(Math.max(this.#log.applied, this.#log.baseIndex));
    this.#send({ ...this.#to(progress.id), type: 'snapshot', meta });
    progress.snapshot(meta.index);
  }

  appendReply(message: Of<'appendReply'>): void {
    const progress = this.#heardFrom(message.from);
    if (progress === undefined) return;
    if (!message.accepted) {
      this.#refused(progress, message);
      return;
    }
    invariant(
      message.index <= this.#log.lastIndex,
      `${message.from} acknowledges ${message.index}, beyond our log`,
    );
    const moved = progress.accepted(message.index);
    if (
      progress.state === 'probe' ||
      (progress.state === 'snapshot' && progress.match >= this.#log.baseIndex)
    ) {
      progress.replicate();
    }
    if (moved) {
      this.#advanceCommit();
      this.#continueTransfer();
    }
  }

  /**
   * Paper 5.3, "the protocol can be optimized to reduce the number of rejected AppendEntries": skip whole terms. The follower named the last index
   * at which its term is at most that of our prev; the logs can't meet above the last index of ours at which the term is
   * at most the follower's there.
   */
  #refused(progress: Progress, message: Of<'appendReply'>): void {
    let hint = message.hintIndex;
    if (message.hintTerm > 0) hint = this.#log.lastAtMost(hint, message.hintTerm).index;
    progress.refused(message.index, hint);
  }

  /** This replica's own log reached further onto its disk. */
  persisted(): void {
    this.#advanceCommit();
  }

  #ownMatch(): LogIndex {
    return this.#rules.ownMatch({ durable: this.#log.durable, lastIndex: this.#log.lastIndex });
  }

  /** Paper 5.3, 5.4.2. */
  #advanceCommit(): void {
    const log = this.#log;
    const index = quorumValue(log.configuration, (id) =>
      id === this.#id ? this.#ownMatch() : (this.#progress.get(id)?.match ?? 0),
    );
    if (index <= log.commit || !this.#rules.countsForCommit(log.termAt(index) ?? 0, this.#term)) return;
    for (let at = Math.max(log.commit + 1, this.#firstIndex); at <= index; at++) {
      const entry = log.entryAt(at);
      if (entry?.type === 'command') this.#uncommittedBytes -= entry.data.length;
    }
    log.commitTo(index);
  }

  // --- Time

  /** @returns `quorumLost` when the leader must step down, and reads that were given up. */
  tick(): { quorumLost: boolean; expired: PendingRead[] } {
    const expired = this.#reads.tick();
    this.#commitIsDue = true;
    this.#quorumTicks++;
    if (this.#quorumTicks >= this.#limits.electionTicks) {
      this.#quorumTicks = 0;
      // Thesis 3.10: a transfer that has not succeeded within an election timeout is given up.
      this.#transferee = 0n;
      if (!this.#heardQuorum()) return { quorumLost: true, expired };
    }
    this.#heartbeatTicks++;
    if (this.#heartbeatTicks >= this.#limits.heartbeatTicks) {
      this.#heartbeatTicks = 0;
      this.#settledCommit = this.#log.commit;
      this.#broadcastHeartbeat();
    }
    return { quorumLost: false, expired };
  }

  /** Thesis 6.2: a leader cut off from a majority steps down, so that clients look elsewhere. Begins the next round. */
  #heardQuorum(): boolean {
    const heard = quorumValue(this.#log.configuration, (id) =>
      id === this.#id || this.#progress.get(id)?.active === true ? 1 : 0,
    );
    for (const progress of this.#progress.values()) {
      progress.wasActive = progress.active;
      progress.active = false;
    }
    return heard === 1;
  }

  #broadcastHeartbeat(): void {
    for (const progress of this.#progress.values()) {
      if (progress.id === this.#id) continue;
      // Not beyond match: behind it the follower's log may differ from ours.
      const commit = Math.min(progress.match, this.#log.commit);
      this.#send({ ...this.#to(progress.id), type: 'heartbeat', commit, nonce: this.#reads.nonce });
      progress.sentCommit = Math.max(progress.sentCommit, commit);
    }
  }

  heartbeatReply(message: Of<'heartbeatReply'>): void {
    const progress = this.#heardFrom(message.from);
    if (progress === undefined) return;
    this.#reads.echo(message.from, message.nonce);
    if (progress.state === 'probe') progress.waiting = false;
    else if (progress.state === 'replicate' && progress.match < this.#log.lastIndex) progress.nudge = true;
    // The timeoutNow may have been lost.
    if (message.from === this.#transferee) this.#continueTransfer();
  }

  #heardFrom(id: ReplicaId): Progress | undefined {
    const progress = this.#progress.get(id);
    if (progress !== undefined) progress.active = true;
    return progress;
  }

  // --- Reads

  /** @returns false when too many wait. */
  read(read: PendingRead): boolean {
    return this.#reads.add(read);
  }

  confirmedReads(): ConfirmedRead[] {
    return this.#reads.confirmed(this.#log.configuration, this.#id);
  }

  abandonReads(): PendingRead[] {
    return this.#reads.abandon();
  }

  // --- Snapshots and links

  snapshotStatus(to: ReplicaId, outcome: 'sent' | 'failed'): void {
    const progress = this.#progress.get(to);
    if (progress?.state !== 'snapshot') return;
    progress.probe(outcome === 'sent' ? progress.snapshotIndex + 1 : progress.match + 1);
    // Not at once: after a failure that would be a busy loop, after success the acknowledgement is on its way.
    progress.waiting = true;
  }

  unreachable(peer: ReplicaId): void {
    const progress = this.#progress.get(peer);
    if (progress?.state === 'replicate') {
      progress.probe(progress.match + 1);
      progress.waiting = true;
    }
  }

  // --- Transfer

  transfer(to: ReplicaId): 'started' | TransferRefusal {
    if (to === this.#id) return 'isSelf';
    if (!isVoter(this.#log.configuration, to)) return 'noSuchVoter';
    if (this.#transferee !== 0n) return this.#transferee === to ? 'started' : 'inProgress';
    this.#transferee = to;
    // Thesis 3.10: it gets one election timeout, counted from here.
    this.#quorumTicks = 0;
    this.#continueTransfer();
    return 'started';
  }

  /** Thesis 3.10: the target is brought up to date first, so that it can win. */
  #continueTransfer(): void {
    if (this.#transferee === 0n) return;
    if (this.#progress.get(this.#transferee)?.match !== this.#log.lastIndex) return;
    this.#send({ ...this.#to(this.#transferee), type: 'timeoutNow' });
  }

  #to(to: ReplicaId): { from: ReplicaId; to: ReplicaId; term: Term } {
    return { from: this.#id, to, term: this.#term };
  }
}
