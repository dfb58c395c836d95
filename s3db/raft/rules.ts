import { isVoter } from './configuration.ts';
import type { Configuration, LogIndex, Message, ReplicaId, Term } from './types.ts';

/**
 * Every decision that Raft's safety (and the liveness of its extensions) hangs on, each in a method of its own with the section
 * it comes from. The core asks here and decides nothing of this kind elsewhere; what it throws in addition
 * (InvariantError) is a check of the outcome.
 *
 * It is a class, and the core makes its own instance, so that nothing can be handed in that decides otherwise. The simulator's mutants
 * replace one method of the prototype at a time, in a process of their own, to show that its checks notice.
 */
export class SafetyRules {
  /** Paper 5.2, 5.4: at most one vote a term, first come first served; a leader known in this term already won it. */
  mayVote(state: { vote: ReplicaId; leader: ReplicaId }, candidate: ReplicaId): boolean {
    return state.vote === candidate || (state.vote === 0n && state.leader === 0n);
  }

  /** Paper 5.4.1: a candidate's log must be at least as up to date as the voter's. */
  isUpToDate(
    candidate: { lastTerm: Term; lastIndex: LogIndex },
    own: { lastTerm: Term; lastIndex: LogIndex },
  ): boolean {
    return (
      candidate.lastTerm > own.lastTerm ||
      (candidate.lastTerm === own.lastTerm && candidate.lastIndex >= own.lastIndex)
    );
  }

  /**
   * Thesis 4.2.2, 4.1: a server answers whoever asks, whatever its own configuration says: a learner that was promoted may not know
   * it yet, and its vote may be needed. Whether the vote counts is the candidate's to know.
   */
  votesWhenNotVoter(): boolean {
    return true;
  }

  /**
   * A replica that belongs to no cluster yet has promised nothing and knows nothing: nobody can rightly count on its vote. Whoever asks takes it
   * for one that has lost its disk.
   */
  votesWithoutConfiguration(): boolean {
    return false;
  }

  /** Votes belong to an incarnation: what was sent to another id at the same address is none of ours. */
  isAddressedTo(message: Message, id: ReplicaId): boolean {
    return message.to === id;
  }

  /** Only voters of the candidate's own configuration count (thesis 4.1). */
  countsVoteOf(configuration: Configuration, from: ReplicaId): boolean {
    return isVoter(configuration, from);
  }

  /** A learner, a removed server and one without a configuration never stand for election. */
  mayCampaign(configuration: Configuration, id: ReplicaId): boolean {
    return isVoter(configuration, id);
  }

  /**
   * Thesis 4.2.3, 6.4.1: a vote request within the minimum election timeout of contact with a leader is refused, unless that leader
   * itself asked for the election (3.10).
   */
  ignoresVoteRequest(
    state: { leaderKnown: boolean; elapsedTicks: number; electionTicks: number },
    transfer: boolean,
  ): boolean {
    return !transfer && state.leaderKnown && state.elapsedTicks < state.electionTicks;
  }

  /** Thesis 9.6: a pre-candidate behind in terms must learn so from the answer, else it asks in vain for ever. */
  answersStalePreVote(): boolean {
    return true;
  }

  /**
   * Paper figure 2, "updated on stable storage before responding". A vote request too: it promises a log that a crash must not
   * shorten while the votes it earned are still under way.
   */
  awaitsDisk(message: Message): boolean {
    switch (message.type) {
      case 'vote':
        return true;
      case 'voteReply':
        return message.granted;
      case 'appendReply':
        return message.accepted;
      case 'preVote':
      case 'preVoteReply':
      case 'append':
      case 'heartbeat':
      case 'heartbeatReply':
      case 'snapshot':
      case 'readIndex':
      case 'readIndexReply':
      case 'timeoutNow':
        return false;
    }
  }

  /** Thesis 10.2.1: a leader may send before it has written, but counts itself only for what it has written. */
  ownMatch(log: { durable: LogIndex; lastIndex: LogIndex }): LogIndex {
    return log.durable;
  }

  /** Paper 5.4.2: only entries of the leader's own term are committed by counting. */
  countsForCommit(entryTerm: Term, currentTerm: Term): boolean {
    return entryTerm === currentTerm;
  }

  /** Paper 5.3: what lies at or below the base of a compacted log is committed, and so equal to the leader's. */
  compactedPrevMatches(): boolean {
    return true;
  }

  /** Paper 5.3, figure 2 (AppendEntries 3): an entry is removed only when its term differs. */
  conflicts(own: Term, theirs: Term): boolean {
    return own !== theirs;
  }

  /** Paper figure 2 (AppendEntries 5): min(leaderCommit, index of last new entry). Behind that nothing was compared. */
  followerCommit(leaderCommit: LogIndex, log: { verified: LogIndex; lastIndex: LogIndex }): LogIndex {
    return Math.min(leaderCommit, log.verified);
  }

  /** What an acknowledgement says: as far as this message was compared and no further. */
  acknowledged(log: { verified: LogIndex; lastIndex: LogIndex }): LogIndex {
    return log.verified;
  }

  /** A write under way for entries that were cut off since says nothing about those that took their place. */
  durableAfterTruncation(durable: LogIndex, kept: LogIndex): LogIndex {
    return Math.min(durable, kept);
  }

  /** Thesis 4.1: the latest configuration in the log is in force, so cutting it off brings back the one before. */
  rollsBackConfiguration(): boolean {
    return true;
  }

  /** Paper 7: a snapshot carries the configuration at its index. */
  configurationOfSnapshot(sent: Configuration, _own: Configuration): Configuration {
    return sent;
  }

  /**
   * Thesis 4.1: one change at a time. And by Ongaro's erratum ("bug in single-server membership changes", raft-dev 2015) none before
   * an entry of the leader's own term is committed.
   */
  mayChangeConfiguration(state: {
    committedInTerm: boolean;
    changeInFlight: boolean;
  }): 'yes' | 'notReady' | 'changeInFlight' {
    if (!state.committedInTerm) return 'notReady';
    return state.changeInFlight ? 'changeInFlight' : 'yes';
  }

  /** Thesis 6.4 step 1: until it has committed in its own term, a leader does not know the latest commit index. */
  mayServeReads(state: { committedInTerm: boolean }): boolean {
    return state.committedInTerm;
  }

  /** Thesis 6.4 step 3: the round an answer speaks for is the one it echoes, not the one that runs when it comes. */
  acknowledgedRound(echoed: number, _latest: number): number {
    return echoed;
  }
}
