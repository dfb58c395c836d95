import { LeadershipLostError, NotLeaderError } from './driver_errors.ts';
import { UnavailableError, UnknownOutcomeError } from './errors.ts';
import type { RaftCore } from './raft/core.ts';
import type { Entry, Status } from './raft/types.ts';
import type { Outcome } from './request_memory.ts';

const maxWaiting = 16_384;
const maxWaitingBytes = 64 * 1024 * 1024;
/** Proposals handed to the core at once; what they make is one log write. */
const maxFeedBytes = 4 * 1024 * 1024;
const maxFeedCount = 1024;

interface Proposal {
  readonly data: Uint8Array;
  readonly deadlineMs: number;
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: Error) => void;
}

interface Sent extends Proposal {
  readonly term: number;
}

/** Proposals on their way into the core, and those in the log whose outcome isn't known yet, by index. */
export class ProposalQueue {
  #waiting: Proposal[] = [];
  #waitingBytes = 0;
  readonly #sent = new Map<number, Sent>();

  sizes(): { writesWaiting: number; writesWaitingBytes: number; writesUndecided: number } {
    return {
      writesWaiting: this.#waiting.length,
      writesWaitingBytes: this.#waitingBytes,
      writesUndecided: this.#sent.size,
    };
  }

  /** @param deadlineMs on the driver's clock. */
  add(data: Uint8Array, deadlineMs: number): Promise<Outcome> {
    if (this.#waiting.length >= maxWaiting || this.#waitingBytes + data.length > maxWaitingBytes) {
      throw new UnavailableError('too many writes wait already');
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ data, deadlineMs, resolve, reject });
      this.#waitingBytes += data.length;
    });
  }

  /** Hands what waits to the core, unless on hold: then it gathers for a later, larger batch. */
  feed(core: RaftCore, options: { readonly hold: boolean }): void {
    while (this.#waiting.length > 0 && !options.hold) {
      const batch = this.#firstBatch();
      const answer = core.proposeAll(batch.map((proposal) => proposal.data));
      if (answer === 'overloaded') return;
      this.#waiting = this.#waiting.slice(batch.length);
      for (const [i, proposal] of batch.entries()) {
        this.#waitingBytes -= proposal.data.length;
        if (answer === 'notLeader') proposal.reject(new NotLeaderError('this replica does not lead'));
        else this.#sent.set(answer.index + i, { ...proposal, term: answer.term });
      }
    }
  }

  /** Once this replica doesn't lead the term of a proposal any more, its maker had better ask the new leader. */
  followRole(status: Status): void {
    const leads = status.role === 'leader';
    if (!leads && this.#waiting.length > 0) {
      const refused = this.#waiting;
      this.#waiting = [];
      this.#waitingBytes = 0;
      for (const proposal of refused) proposal.reject(new NotLeaderError('this replica does not lead'));
    }
    for (const [index, proposal] of this.#sent) {
      if (leads && proposal.term === status.term) break;
      this.#sent.delete(index);
      proposal.reject(new LeadershipLostError(`leadership of term ${proposal.term} was lost`));
    }
  }

  settle(entry: Entry, outcome: Outcome): void {
    const proposal = this.#sent.get(entry.index);
    if (proposal === undefined) return;
    this.#sent.delete(entry.index);
    if (proposal.term === entry.term) proposal.resolve(outcome);
    else proposal.reject(new NotLeaderError(`another leader's entry took the place ${entry.index}`));
  }

  /** An entry that is nobody's proposal was committed. */
  supersede(entry: Entry): void {
    const proposal = this.#sent.get(entry.index);
    if (proposal === undefined) return;
    this.#sent.delete(entry.index);
    proposal.reject(new NotLeaderError(`another leader's entry took the place ${entry.index}`));
  }

  /** The state jumped ahead: what was decided up to there isn't known here. */
  skipTo(index: number): void {
    for (const [at, proposal] of this.#sent) {
      if (at > index) continue;
      this.#sent.delete(at);
      proposal.reject(new LeadershipLostError('a snapshot took the place of the log'));
    }
  }

  expire(nowMs: number): void {
    if (this.#waiting.some((proposal) => proposal.deadlineMs <= nowMs)) {
      const late = this.#waiting.filter((proposal) => proposal.deadlineMs <= nowMs);
      this.#waiting = this.#waiting.filter((proposal) => proposal.deadlineMs > nowMs);
      for (const proposal of late) {
        this.#waitingBytes -= proposal.data.length;
        proposal.reject(new UnavailableError('the write did not get its turn before its deadline'));
      }
    }
    for (const [index, proposal] of this.#sent) {
      if (proposal.deadlineMs > nowMs) continue;
      this.#sent.delete(index);
      proposal.reject(new UnknownOutcomeError('the write was not decided before its deadline'));
    }
  }

  /** Those in the log get an unknown outcome, the others `error`. */
  refuseAll(error: Error): void {
    for (const proposal of this.#waiting) proposal.reject(error);
    this.#waiting = [];
    this.#waitingBytes = 0;
    for (const proposal of this.#sent.values()) {
      proposal.reject(new UnknownOutcomeError(`the replica stopped: ${error.message}`));
    }
    this.#sent.clear();
  }

  #firstBatch(): readonly Proposal[] {
    let bytes = 0;
    let count = 0;
    for (const proposal of this.#waiting) {
      bytes += proposal.data.length;
      if (count > 0 && (bytes > maxFeedBytes || count >= maxFeedCount)) break;
      count++;
    }
    return this.#waiting.slice(0, count);
  }
}
