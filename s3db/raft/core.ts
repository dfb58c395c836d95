import { Batches } from './batches.ts';
import { isVoter } from './configuration.ts';
import { Ballot, ElectionTimer } from './election.ts';
import { invariant } from './invariant.ts';
import { Leader } from './leader.ts';
import { RaftLog } from './log.ts';
import { ForwardedReads } from './read_index.ts';
import type { PendingRead } from './read_index.ts';
import { SafetyRules } from './rules.ts';
import type {
  ConfigurationChange,
  ConfigurationRefusal,
  Entry,
  HardState,
  LogIndex,
  Message,
  ProposalRefusal,
  Proposed,
  ReadState,
  Ready,
  ReplicaId,
  Role,
  SnapshotMeta,
  Status,
  Term,
  TransferRefusal,
} from './types.ts';

type Of<Type extends Message['type']> = Extract<Message, { type: Type }>;

export interface RaftOptions {
  readonly id: ReplicaId;
  /** As last persisted; `{ term: 0, vote: 0n, commit: 0 }` on a first boot. */
  readonly hardState: HardState;
  readonly log: {
    /**
     * What lies before the first retained entry. On a first boot index 0, term 0 and the cluster's first voters, or an
     * empty configuration for a replica that joins.
     */
    readonly snapshot: SnapshotMeta;
    /** All retained entries, contiguous from `snapshot.index + 1`. All of them durable. */
    readonly entries: readonly Entry[];
  };
  /** What the state machine durably holds: `log.snapshot.index <= applied <= ` last index of the log. */
  readonly applied: LogIndex;
  /**
   * The minimum election timeout in ticks; the real one is drawn from [electionTicks, 2 * electionTicks) each time. Also
   * the window in which a leader must hear a quorum, and in which votes are refused after contact with a leader.
   */
  readonly electionTicks: number;
  /** Below electionTicks / 2. */
  readonly heartbeatTicks: number;
  /** Appends under way to one follower before its acknowledgements are awaited. */
  readonly maxInflightMessages: number;
  /** Entry bytes in one append; an entry bigger than that goes alone. Also the bound of `Ready.committed`. */
  readonly maxMessageBytes: number;
  /** Proposals are refused as `overloaded` beyond this. One proposal is always let in when nothing else waits. */
  readonly maxUncommittedBytes: number;
  /** Uniform in [0, 1): election timeouts and the freshness of read nonces. */
  readonly random: () => number;
}

/**
 * One Raft replica as a pure state machine: no I/O, no clock, no promise. After every call that may have changed
 * something (all but `status`, `snapshotAt`), ask `hasReady()`.
 *
 * Sources: Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm" (extended version), and Ongaro's
 * thesis "Consensus: Bridging Theory and Practice"; sections are cited where their rules stand.
 */
export class RaftCore {
  readonly #options: RaftOptions;
  readonly #rules: SafetyRules;
  readonly #id: ReplicaId;
  readonly #log: RaftLog;
  readonly #timer: ElectionTimer;
  readonly #forwarded: ForwardedReads;
  readonly #batches = new Batches();
  #committedHeld = false;
  #term: Term;
  #vote: ReplicaId;
  #role: Role = 'follower';
  /** Of the current term; 0n while it is not known. */
  #leaderId: ReplicaId = 0n;
  /** Of a candidate or pre-candidate. */
  #ballot: Ballot | undefined;
  /** The candidate's election was asked for by the leader. */
  #byTransfer = false;
  /** Of a leader. */
  #leader: Leader | undefined;
  #durableTerm: Term;
  #durableVote: ReplicaId;
  #handedState: HardState;
  #messages: Message[] = [];
  #afterPersist: Message[] = [];
  #readStates: ReadState[] = [];
  /** Something happened that may give the leader something to send. */
  #stirred = false;

  /** @throws InvariantError when the options contradict each other. */
  constructor(options: RaftOptions) {
    const { id, hardState, log, electionTicks, heartbeatTicks, random } = options;
    invariant(id > 0n, 'a replica has an id');
    invariant(
      heartbeatTicks >= 1 && 2 * heartbeatTicks < electionTicks,
      'heartbeats are more frequent than elections',
    );
    this.#options = options;
    this.#rules = new SafetyRules();
    this.#id = id;
    this.#term = this.#durableTerm = hardState.term;
    this.#vote = this.#durableVote = hardState.vote;
    this.#log = new RaftLog(log, { commit: hardState.commit, applied: options.applied, rules: this.#rules });
    invariant(this.#log.lastTerm <= hardState.term, 'the log has no term from the future');
    this.#handedState = { ...hardState, commit: this.#log.commit };
    this.#timer = new ElectionTimer({ electionTicks, random });
    this.#forwarded = new ForwardedReads({ random, timeoutTicks: 2 * electionTicks });
  }

  /** The driver's clock: one tick is its time unit for elections and heartbeats. */
  tick(): void {
    for (const requestId of this.#forwarded.tick()) this.#readFailed(requestId);
    if (this.#leader !== undefined) {
      this.#stirred = true;
      const { quorumLost, expired } = this.#leader.tick();
      this.#refuseReads(expired);
      if (quorumLost) this.#becomeFollower(this.#term, 0n);
    } else if (this.#timer.tick()) {
      if (this.#rules.mayCampaign(this.#log.configuration, this.#id)) {
        this.#campaign();
      } else {
        this.#forgetLeader();
        this.#timer.restart();
      }
    }
  }

  /**
   * Takes in a message from a peer. Messages may be lost, duplicated, delayed and reordered at will; those for another id
   * are ignored. A `snapshot` message is given only once the whole snapshot is staged and verified; its `meta` must be
   * what was really staged, which may be newer than what the leader's core asked for.
   */
  step(message: Message): void {
    if (!this.#rules.isAddressedTo(message, this.#id) || message.from === this.#id) return;
    if (message.term > this.#term) {
      if (!this.#catchUpTerm(message)) return;
    } else if (message.term < this.#term) {
      this.#answerStale(message);
      return;
    }
    this.#dispatch(message);
  }

  /** Appends a command to the leader's log. */
  propose(data: Uint8Array): Proposed | ProposalRefusal {
    return this.proposeAll([data]);
  }

  /** Appends several commands, all or none, contiguous; the answer is where the first went. At least one. */
  proposeAll(commands: readonly Uint8Array[]): Proposed | ProposalRefusal {
    this.#stirred = true;
    return this.#leader?.propose(commands) ?? 'notLeader';
  }

  /** Appends a change of one member; it is in force from that moment (thesis 4.1). */
  proposeConfiguration(change: ConfigurationChange): Proposed | ConfigurationRefusal {
    this.#stirred = true;
    return this.#leader?.proposeConfiguration(change) ?? 'notLeader';
  }

  /**
   * Asks for an index that covers every write acknowledged anywhere before this call. The answer comes in
   * `Ready.readStates`, exactly once for each call: `ok` with the index, or not ok when there is no leader, the
   * leader changed, too many reads wait, or nothing came back within two election timeouts. Works on followers and learners, which
   * ask the leader. `requestId` is the driver's, unique among its outstanding reads.
   */
  readIndex(requestId: number): void {
    if (this.#leader !== undefined) {
      this.#stirred = true;
      if (!this.#leader.read({ from: this.#id, requestId })) this.#readFailed(requestId);
      return;
    }
    const wireId = this.#leaderId === 0n ? undefined : this.#forwarded.add(requestId);
    if (wireId === undefined) this.#readFailed(requestId);
    else this.#send({ ...this.#to(this.#leaderId), type: 'readIndex', requestId: wireId });
  }

  /**
   * Hands leadership to a voter (thesis 3.10). Proposals are `overloaded` meanwhile. It is given up after an
   * election timeout. Success shows as a change of `status().leader`.
   */
  transferLeadership(to: ReplicaId): 'started' | TransferRefusal {
    this.#stirred = true;
    return this.#leader?.transfer(to) ?? 'notLeader';
  }

  /** Whether `ready()` would hand over anything. */
  hasReady(): boolean {
    if (this.#batches.full) return false;
    return (
      this.#stirred ||
      this.#messages.length > 0 ||
      this.#afterPersist.length > 0 ||
      this.#readStates.length > 0 ||
      this.#log.hasUnhanded ||
      (!this.#committedHeld && this.#log.hasCommitted) ||
      this.#term !== this.#handedState.term ||
      this.#vote !== this.#handedState.vote
    );
  }

  /**
   * Hands over a batch and marks it in progress: nothing of it is handed over again. The next batch may be taken while
   * this one is being persisted and applied (at most 64 with a `persist` marker under way). The rules:
   *
   * 1. Batches are persisted in the order in which they were taken. Within one: hard state, then snapshot, then entries. Before
   *    the entries are appended, everything in the durable log from `entries[0].index` on is cut off. One fdatasync may
   *    cover several batches.
   * 2. `messages` may leave at once. `afterPersist` leaves only when this batch and every earlier one are durable, also
   *    when this batch itself has nothing to persist.
   * 3. `persisted(persist.term, persist.index)` is called once for each batch that has `persist`, in order, when it is durable.
   * 4. `committed` is applied in order. These entries are durable already, so it need not wait for rule 3. `applied(last index)` is
   *    called when the state machine holds them durably; until then no further `committed` is handed over.
   * 5. `snapshot`: applying is brought to an end first, then the staged snapshot becomes state and the log starts anew behind it,
   *    durably, then rule 3. The core counts it as applied at `persisted`. No `committed` is handed over meanwhile.
   * 6. An outgoing `snapshot` message is a request to the driver: stream the state machine's snapshot, at any applied index not
   *    below `meta.index`, to that member and report with `snapshotStatus`, always and within a deadline.
   * 7. When anything fails to be persisted, the core is thrown away: there is no way to take a batch back.
   */
  ready(): Ready {
    this.#stirred = false;
    this.#confirmReads(this.#leader?.fill() ?? []);
    const { snapshot, entries } = this.#log.takeUnhanded();
    const hardState = this.#takeHardState(entries.length > 0 || snapshot !== undefined);
    const mustPersist = hardState !== undefined || snapshot !== undefined || entries.length > 0;
    const marker = { term: this.#term, index: this.#log.lastIndex };
    if (mustPersist) {
      const snapshotIndex = snapshot?.index ?? 0;
      this.#batches.begin({ marker, hardState, snapshotIndex, lastIndex: this.#log.lastIndex });
    }
    const ready: Ready = {
      ...(hardState === undefined ? {} : { hardState }),
      entries,
      ...(snapshot === undefined ? {} : { snapshot }),
      ...(mustPersist ? { persist: marker } : {}),
      messages: this.#messages,
      afterPersist: this.#afterPersist,
      committed: this.#committedHeld ? [] : this.#log.takeCommitted(this.#options.maxMessageBytes),
      readStates: this.#readStates,
    };
    this.#messages = [];
    this.#afterPersist = [];
    this.#readStates = [];
    return ready;
  }

  /** While `hold`, no `committed` is handed over: it gathers, for one larger round. Whoever leads must not hold it for long. */
  holdCommitted(hold: boolean): void {
    this.#committedHeld = hold;
  }

  /** The oldest batch in progress that has a `persist` marker is durable. @throws InvariantError if it isn't that marker. */
  persisted(term: Term, index: LogIndex): void {
    const batch = this.#batches.end({ term, index });
    if (batch.snapshotIndex > 0) this.#log.installed(batch.snapshotIndex);
    this.#log.persisted(batch.lastIndex);
    if (batch.hardState !== undefined) {
      this.#durableTerm = batch.hardState.term;
      this.#durableVote = batch.hardState.vote;
    }
    this.#countOwnVote();
    this.#leader?.persisted();
    this.#stirred = true;
  }

  /** The state machine durably holds everything up to `index`. Indexes below a snapshot installed since are ignored. */
  applied(index: LogIndex): void {
    this.#log.appliedTo(index);
  }

  /** Drops retained entries up to and with `index` (at most applied). The configuration and term at it are kept. */
  compact(index: LogIndex): void {
    this.#log.compact(index);
  }

  /** Term and configuration at `index`, which lies between the compacted index and commit: what a snapshot taken there must say. */
  snapshotAt(index: LogIndex): SnapshotMeta {
    return this.#log.snapshotAt(index);
  }

  /**
   * How the sending of a snapshot asked for by an outgoing `snapshot` message ended: `sent` when the receiver has staged it
   * and its core was given the message, `failed` otherwise (the receiver is asked again after its next sign of life).
   */
  snapshotStatus(to: ReplicaId, outcome: 'sent' | 'failed'): void {
    this.#leader?.snapshotStatus(to, outcome);
  }

  /** The link to a peer broke: what was under way to it is taken for lost. A hint; nothing depends on it. */
  unreachable(peer: ReplicaId): void {
    this.#leader?.unreachable(peer);
  }

  status(): Status {
    return {
      id: this.#id,
      role: this.#role,
      term: this.#term,
      vote: this.#vote,
      leader: this.#leaderId,
      commit: this.#log.commit,
      applied: this.#log.applied,
      firstIndex: this.#log.baseIndex + 1,
      lastIndex: this.#log.lastIndex,
      durableIndex: this.#log.durable,
      transferee: this.#leader?.transferee ?? 0n,
      configuration: this.#log.configuration,
      progress: this.#leader?.progressStatus() ?? [],
    };
  }

  // --- Terms

  /**
   * A message of a later term (paper 5.1).
   * @returns whether it is to be handled further.
   */
  #catchUpTerm(message: Message): boolean {
    switch (message.type) {
      case 'preVote':
      case 'vote': {
        const leaderKnown = this.#leaderId !== 0n;
        const elapsedTicks = this.#leader === undefined ? this.#timer.elapsedTicks : 0;
        const { electionTicks } = this.#options;
        if (this.#rules.ignoresVoteRequest({ leaderKnown, elapsedTicks, electionTicks }, message.transfer))
          return false;
        // A pre-vote changes no term (thesis 9.6).
        if (message.type === 'vote') this.#becomeFollower(message.term, 0n);
        return true;
      }
      case 'preVoteReply':
        // Granted: it carries the term that we asked for, which is not ours yet.
        if (!message.granted) this.#becomeFollower(message.term, 0n);
        return true;
      case 'append':
      case 'heartbeat':
      case 'snapshot':
        this.#becomeFollower(message.term, message.from);
        return true;
      case 'voteReply':
      case 'appendReply':
      case 'heartbeatReply':
      case 'readIndex':
      case 'readIndexReply':
      case 'timeoutNow':
        this.#becomeFollower(message.term, 0n);
        return true;
    }
  }

  /**
   * A message of an earlier term. Who leads or asks in vain there must learn our term: with pre-vote and check-quorum a
   * replica that is ahead in terms can neither win nor be heard otherwise.
   */
  #answerStale(message: Message): void {
    const to = this.#to(message.from);
    switch (message.type) {
      case 'append':
      case 'heartbeat':
      case 'snapshot':
        this.#send({ ...to, type: 'appendReply', accepted: false, index: 0, hintIndex: 0, hintTerm: 0 });
        return;
      case 'preVote':
        if (this.#rules.answersStalePreVote()) this.#send({ ...to, type: 'preVoteReply', granted: false });
        return;
      case 'readIndex':
        this.#send({ ...to, type: 'readIndexReply', requestId: message.requestId, index: 0, ok: false });
        return;
      case 'vote':
      case 'voteReply':
      case 'preVoteReply':
      case 'appendReply':
      case 'heartbeatReply':
      case 'readIndexReply':
      case 'timeoutNow':
        return;
    }
  }

  #dispatch(message: Message): void {
    switch (message.type) {
      case 'preVote':
      case 'vote':
        this.#voteRequest(message);
        return;
      case 'preVoteReply':
      case 'voteReply':
        this.#voteReply(message);
        return;
      case 'append':
        this.#heardLeader(message.from);
        this.#appendRequest(message);
        return;
      case 'heartbeat':
        this.#heardLeader(message.from);
        this.#log.commitTo(message.commit);
        this.#send({ ...this.#to(message.from), type: 'heartbeatReply', nonce: message.nonce });
        return;
      case 'snapshot':
        this.#heardLeader(message.from);
        this.#snapshotRequest(message);
        return;
      case 'appendReply':
        this.#leader?.appendReply(message);
        this.#stirred = true;
        return;
      case 'heartbeatReply':
        this.#leader?.heartbeatReply(message);
        this.#stirred = true;
        return;
      case 'readIndex':
        this.#stirred = true;
        if (this.#leader?.read({ from: message.from, requestId: message.requestId }) !== true)
          this.#refuseReads([message]);
        return;
      case 'readIndexReply': {
        const requestId = this.#forwarded.take(message.requestId);
        if (requestId !== undefined)
          this.#readStates.push({ requestId, index: message.index, ok: message.ok });
        return;
      }
      case 'timeoutNow':
        if (message.from !== this.#leaderId || !this.#rules.mayCampaign(this.#log.configuration, this.#id))
          return;
        this.#byTransfer = true;
        this.#becomeCandidate();
        return;
    }
  }

  // --- Roles

  #becomeFollower(term: Term, leader: ReplicaId): void {
    invariant(term >= this.#term, 'terms never go back');
    if (term > this.#term || leader !== this.#leaderId || this.#leader !== undefined) this.#forgetLeader();
    if (term > this.#term) this.#enterTerm(term, 0n);
    this.#leaderId = leader;
    this.#role = 'follower';
    this.#ballot = undefined;
    this.#byTransfer = false;
    this.#timer.restart();
  }

  /**
   * What waited for the disk promised something about the log of an earlier term. The new term's leader may cut it off before it is
   * ever written, so those promises are taken back.
   */
  #enterTerm(term: Term, vote: ReplicaId): void {
    this.#term = term;
    this.#vote = vote;
    this.#afterPersist = [];
  }

  /** Ends what depended on the leader of before, ourselves or another. */
  #forgetLeader(): void {
    this.#refuseReads(this.#leader?.abandonReads() ?? []);
    this.#leader = undefined;
    this.#leaderId = 0n;
    for (const requestId of this.#forwarded.abandon()) this.#readFailed(requestId);
  }

  #heardLeader(from: ReplicaId): void {
    invariant(this.#leader === undefined, `two leaders in term ${this.#term}: ${this.#id} and ${from}`);
    if (this.#role !== 'follower' || this.#leaderId !== from) {
      invariant(this.#leaderId === 0n || this.#leaderId === from, `two leaders in term ${this.#term}`);
      this.#becomeFollower(this.#term, from);
    } else {
      this.#timer.restart();
    }
  }

  /** Thesis 9.6: asks first whether an election could be won, so that a replica which was cut off disturbs nobody. */
  #campaign(): void {
    this.#forgetLeader();
    this.#role = 'preCandidate';
    this.#byTransfer = false;
    this.#ballot = new Ballot(this.#rules);
    this.#timer.restart();
    this.#requestVotes('preVote', this.#term + 1);
    this.#ballot.record(this.#id, true);
    this.#countBallot();
  }

  /** Paper 5.2. Its own vote counts once it is durable. */
  #becomeCandidate(): void {
    this.#forgetLeader();
    this.#role = 'candidate';
    this.#enterTerm(this.#term + 1, this.#id);
    this.#ballot = new Ballot(this.#rules);
    this.#timer.restart();
    this.#requestVotes('vote', this.#term);
  }

  #becomeLeader(): void {
    invariant(isVoter(this.#log.configuration, this.#id), 'a leader is a voter');
    this.#role = 'leader';
    this.#leaderId = this.#id;
    this.#ballot = undefined;
    this.#leader = new Leader({
      id: this.#id,
      term: this.#term,
      log: this.#log,
      rules: this.#rules,
      limits: this.#options,
      send: (message) => this.#send(message),
    });
    this.#stirred = true;
  }

  // --- Elections

  #requestVotes(type: 'preVote' | 'vote', term: Term): void {
    const { lastIndex, lastTerm } = this.#log;
    const transfer = type === 'vote' && this.#byTransfer;
    for (const to of this.#log.configuration.voters) {
      if (to !== this.#id) this.#send({ from: this.#id, to, term, type, lastIndex, lastTerm, transfer });
    }
  }

  #voteRequest(message: Of<'preVote' | 'vote'>): void {
    const state = { vote: this.#vote, leader: this.#leaderId };
    // A pre-vote for a later term is no vote: this term's vote doesn't bind it, and a leader that went silent neither.
    const free = message.type === 'preVote' && message.term > this.#term;
    const may = free || this.#rules.mayVote(state, message.from);
    const { configuration } = this.#log;
    const asVoter = isVoter(configuration, this.#id) || this.#rules.votesWhenNotVoter();
    const asMember = configuration.voters.length > 0 || this.#rules.votesWithoutConfiguration();
    const granted = may && asVoter && asMember && this.#rules.isUpToDate(message, this.#log);
    const type = message.type === 'vote' ? 'voteReply' : 'preVoteReply';
    if (granted && type === 'voteReply') {
      this.#vote = message.from;
      this.#timer.restart();
    }
    const term = granted ? message.term : this.#term;
    this.#send({ from: this.#id, to: message.from, term, type, granted });
  }

  #voteReply(message: Of<'preVoteReply' | 'voteReply'>): void {
    const expected = this.#role === 'candidate' ? 'voteReply' : 'preVoteReply';
    if (this.#ballot === undefined || message.type !== expected) return;
    // An answer to an earlier pre-election asked for an earlier term.
    if (message.type === 'preVoteReply' && message.granted && message.term !== this.#term + 1) return;
    this.#ballot.record(message.from, message.granted);
    this.#countBallot();
  }

  #countOwnVote(): void {
    if (this.#role !== 'candidate' || this.#durableTerm !== this.#term || this.#durableVote !== this.#id)
      return;
    this.#ballot?.record(this.#id, true);
    this.#countBallot();
  }

  #countBallot(): void {
    const outcome = this.#ballot?.outcome(this.#log.configuration) ?? 'open';
    if (outcome === 'lost') this.#becomeFollower(this.#term, 0n);
    else if (outcome === 'won' && this.#role === 'preCandidate') this.#becomeCandidate();
    else if (outcome === 'won' && this.#role === 'candidate') this.#becomeLeader();
  }

  // --- Following

  /** Paper figure 2, AppendEntries. */
  #appendRequest(message: Of<'append'>): void {
    const to = this.#to(message.from);
    const { prevIndex, prevTerm, entries } = message;
    const { matched, keptIndex } = this.#log.merge({ index: prevIndex, term: prevTerm }, entries);
    if (keptIndex !== undefined) this.#cutOff(keptIndex);
    if (!matched) {
      const hint = this.#log.lastAtMost(prevIndex, prevTerm);
      const place = { index: prevIndex, hintIndex: hint.index, hintTerm: hint.term };
      this.#send({ ...to, type: 'appendReply', accepted: false, ...place });
      return;
    }
    const reach = { verified: prevIndex + entries.length, lastIndex: this.#log.lastIndex };
    this.#log.commitTo(this.#rules.followerCommit(message.commit, reach));
    const index = this.#rules.acknowledged(reach);
    this.#send({ ...to, type: 'appendReply', accepted: true, index, hintIndex: 0, hintTerm: 0 });
  }

  /** Paper 7, figure 13: what is held already is kept, else the whole log gives way. */
  #snapshotRequest(message: Of<'snapshot'>): void {
    const { meta } = message;
    if (this.#log.termAt(meta.index) === meta.term) {
      this.#log.commitTo(meta.index);
    } else if (meta.index > this.#log.commit) {
      this.#cutOff(this.#log.reset(meta).keptIndex);
    }
    const place = { index: meta.index, hintIndex: 0, hintTerm: 0 };
    this.#send({ ...this.#to(message.from), type: 'appendReply', accepted: true, ...place });
  }

  #cutOff(keptIndex: LogIndex): void {
    this.#batches.truncate((lastIndex) => this.#rules.durableAfterTruncation(lastIndex, keptIndex));
  }

  // --- Reads

  #confirmReads(reads: readonly (PendingRead & { readonly index: LogIndex })[]): void {
    for (const { from, requestId, index } of reads) {
      if (from === this.#id) this.#readStates.push({ requestId, index, ok: true });
      else this.#send({ ...this.#to(from), type: 'readIndexReply', requestId, index, ok: true });
    }
  }

  #refuseReads(reads: readonly PendingRead[]): void {
    for (const { from, requestId } of reads) {
      if (from === this.#id) this.#readFailed(requestId);
      else this.#send({ ...this.#to(from), type: 'readIndexReply', requestId, index: 0, ok: false });
    }
  }

  #readFailed(requestId: number): void {
    this.#readStates.push({ requestId, index: 0, ok: false });
  }

  // --- Output

  #send(message: Message): void {
    if (this.#rules.awaitsDisk(message)) this.#afterPersist.push(message);
    else this.#messages.push(message);
  }

  #to(to: ReplicaId): { from: ReplicaId; to: ReplicaId; term: Term } {
    return { from: this.#id, to, term: this.#term };
  }

  /** A commit index alone is not worth a write: it is volatile in Raft and rides along with what is written anyway. */
  #takeHardState(withOthers: boolean): HardState | undefined {
    // Not beyond what is durable: a torn batch must not leave a commit index behind its log's end.
    const commit = Math.max(Math.min(this.#log.commit, this.#log.durable), this.#handedState.commit);
    const state: HardState = { term: this.#term, vote: this.#vote, commit };
    const before = this.#handedState;
    const moved = state.term !== before.term || state.vote !== before.vote;
    if (!moved && !(withOthers && commit !== before.commit)) return undefined;
    this.#handedState = state;
    return state;
  }
}
