import type { RaftCore } from '../../s3db/raft/core.ts';
import { isVoter } from '../../s3db/raft/configuration.ts';
import type { Entry, LogIndex, Message, Ready, ReplicaId, Status, Term } from '../../s3db/raft/types.ts';
import type { Disk } from './disk.ts';
import { mix } from './machine.ts';

/** A promise was broken. */
export class ViolationError extends Error {
  override readonly name = 'ViolationError';
}

function check(holds: boolean, message: () => string): asserts holds {
  if (!holds) throw new ViolationError(message());
}

/** What the checks remember of one life of a replica. */
export interface Watched {
  readonly id: ReplicaId;
  readonly disk: Disk;
  /** Terms of the log as the core has handed it over: `terms[i]` is that of index `base + 1 + i`. */
  base: LogIndex;
  terms: Term[];
  term: Term;
  commit: LogIndex;
  /** Commits up to here were held against the ledger. */
  verified: LogIndex;
  leading: Term;
}

export function watch(id: ReplicaId, disk: Disk): Watched {
  const { snapshot, entries, hardState } = disk;
  const terms = entries.map((entry) => entry.term);
  return { id, disk, base: snapshot.index, terms, term: hardState.term, commit: 0, verified: 0, leading: 0 };
}

interface Committed {
  readonly term: Term;
  /** A term in which it was known to be committed. */
  readonly inTerm: Term;
}

/** What must hold at every step, whatever happens; held against all replicas that ever lived. */
export class Checks {
  /** By index; 0 is before the first. */
  readonly ledger: Committed[] = [{ term: 0, inTerm: 0 }];
  readonly #leaders = new Map<Term, ReplicaId>();
  /** Of votes that left a replica: candidate by voter and term. */
  readonly #votes = new Map<string, ReplicaId>();
  /** An entry's content and the term before it, by index and term. */
  readonly #entries = new Map<number, { readonly previousTerm: Term; readonly hash: number }>();
  readonly #digests: (number | undefined)[] = [];
  readonly #disks: () => Iterable<readonly [ReplicaId, Disk]>;
  readonly #onLeader: (id: ReplicaId) => void;

  constructor(options: {
    /** Of all replicas that ever lived. */
    disks: () => Iterable<readonly [ReplicaId, Disk]>;
    /** A term has got its leader. */
    onLeader: (id: ReplicaId) => void;
  }) {
    this.#disks = options.disks;
    this.#onLeader = options.onLeader;
  }

  /** The highest index known to be committed anywhere. */
  get committed(): LogIndex {
    return this.ledger.length - 1;
  }

  /** Log matching (paper 5.3): index and term determine an entry and all before it. */
  handedOver(watched: Watched, ready: Pick<Ready, 'snapshot' | 'entries'>): void {
    if (ready.snapshot !== undefined) {
      watched.base = ready.snapshot.index;
      watched.terms = [];
    }
    for (const entry of ready.entries) {
      const at = entry.index - watched.base - 1;
      check(
        at >= 0 && at <= watched.terms.length,
        () => `${name(watched)} leaves a hole before ${entry.index}`,
      );
      check(
        entry.index > watched.verified || this.ledger[entry.index]?.term === entry.term,
        () => `${name(watched)} overwrites committed ${entry.index}`,
      );
      watched.terms.length = at;
      watched.terms.push(entry.term);
      // The term at a compacted base is not known here; the disk's is the same.
      const previousTerm = at > 0 ? watched.terms[at - 1]! : undefined;
      this.#sameEntry(watched, entry, previousTerm);
    }
  }

  #sameEntry(watched: Watched, entry: Entry, previousTerm: Term | undefined): void {
    const key = entry.index * 2 ** 20 + entry.term;
    const hash = contentHash(entry);
    const known = this.#entries.get(key);
    if (known === undefined) {
      if (previousTerm !== undefined) this.#entries.set(key, { previousTerm, hash });
      return;
    }
    check(
      known.hash === hash && (previousTerm ?? known.previousTerm) === known.previousTerm,
      () =>
        `${name(watched)} has another entry ${entry.index} of term ${entry.term} than others, or another one before it`,
    );
  }

  /** What a message promises is durable when it leaves. */
  sent(watched: Watched, message: Message): void {
    const { disk } = watched;
    // An acknowledgement for an earlier term's leader was true when it was made; a later write of the same sync may have cut that log off.
    if (message.type === 'appendReply' && message.accepted && message.term === disk.hardState.term) {
      check(
        disk.lastIndex >= message.index || disk.machine.index >= message.index,
        () => `${name(watched)} acknowledges ${message.index}, durable is ${disk.lastIndex}`,
      );
    }
    if (message.type === 'voteReply' && message.granted) {
      const key = `${message.from}/${message.term}`;
      const before = this.#votes.get(key) ?? message.to;
      check(
        before === message.to,
        () => `${name(watched)} votes twice in term ${message.term}: ${before} and ${message.to}`,
      );
      this.#votes.set(key, message.to);
      check(
        disk.hardState.term >= message.term,
        () => `${name(watched)} votes in term ${message.term} before that is durable`,
      );
    }
    if (message.type === 'vote') {
      check(
        disk.hardState.term >= message.term,
        () => `${name(watched)} asks for votes before its own is durable`,
      );
    }
  }

  /** After everything that may have changed a replica. */
  state(watched: Watched, core: Pick<RaftCore, 'status' | 'snapshotAt'>): void {
    const status = core.status();
    check(
      status.term >= watched.term,
      () => `${name(watched)} went back from term ${watched.term} to ${status.term}`,
    );
    check(
      status.commit >= watched.commit,
      () => `${name(watched)} went back from commit ${watched.commit} to ${status.commit}`,
    );
    check(
      status.applied <= status.commit,
      () => `${name(watched)} applied ${status.applied} beyond commit ${status.commit}`,
    );
    watched.term = status.term;
    if (status.role === 'leader') this.#leads(watched, status);
    this.#commits(watched, status, (index) => core.snapshotAt(index).term);
  }

  #leads(watched: Watched, status: Status): void {
    const { term } = status;
    check(
      isVoter(status.configuration, status.id),
      () => `${name(watched)} leads term ${term} and is no voter`,
    );
    if (watched.leading === term) return;
    watched.leading = term;
    const other = this.#leaders.get(term) ?? status.id;
    check(other === status.id, () => `term ${term} has two leaders: ${other} and ${status.id}`);
    this.#leaders.set(term, status.id);
    this.#onLeader(status.id);
    // Leader completeness (paper 5.4.3): what was committed in earlier terms is in its log.
    for (let index = watched.base + 1; index < this.ledger.length; index++) {
      const committed = this.ledger[index]!;
      if (committed.inTerm >= term) continue;
      const own = watched.terms[index - watched.base - 1];
      check(
        own === committed.term,
        () => `${name(watched)} leads term ${term} without committed entry ${index}`,
      );
    }
  }

  /** State machine safety (paper 5.4.3): what is committed is the same everywhere, and durable on a majority from the first. */
  #commits(watched: Watched, status: Status, termAt: (index: LogIndex) => Term): void {
    const to = status.commit;
    for (let index = Math.max(watched.verified, status.firstIndex - 1) + 1; index <= to; index++) {
      const term = termAt(index);
      const known = this.ledger[index];
      if (known === undefined) {
        check(
          index === this.ledger.length,
          () => `${name(watched)} commits ${index} before anyone committed ${this.ledger.length}`,
        );
        if (status.role === 'leader') this.#durableOnMajority(status, index, term);
        this.ledger.push({ term, inTerm: status.term });
      } else {
        check(
          known.term === term,
          () => `${name(watched)} commits ${index} of term ${term}, others of term ${known.term}`,
        );
      }
    }
    watched.commit = status.commit;
    watched.verified = Math.max(watched.verified, to);
  }

  #durableOnMajority(status: Status, index: LogIndex, term: Term): void {
    let holders = 0;
    for (const [id, disk] of this.#disks()) {
      if (!isVoter(status.configuration, id)) continue;
      if (disk.machine.index >= index || disk.termAt(index) === term) holders++;
    }
    const voters = status.configuration.voters.length;
    check(
      2 * holders > voters,
      () => `${status.id} commits ${index} of term ${term}, durable on ${holders} of ${voters} voters`,
    );
  }

  /** Equal states at equal applied index, and nothing applied that isn't committed. */
  applied(watched: Watched): void {
    const { index, term, digest } = watched.disk.machine;
    const committed = this.ledger[index];
    check(
      committed?.term === term,
      () => `${name(watched)} applied ${index} of term ${term}, which is not committed`,
    );
    const known = this.#digests[index];
    check(
      known === undefined || known === digest,
      () => `${name(watched)} has another state than others at ${index}`,
    );
    this.#digests[index] = digest;
  }

  /** The core and the state agree on the configuration at the index where the state stands, if the core still (or already) stands there too. */
  configuration(watched: Watched, core: Pick<RaftCore, 'status' | 'snapshotAt'>): void {
    const { machine } = watched.disk;
    const { firstIndex, commit } = core.status();
    if (machine.index < firstIndex - 1 || machine.index > commit) return;
    const { configuration } = core.snapshotAt(machine.index);
    check(
      configuration.voters.join() === machine.configuration.voters.join() &&
        configuration.learners.join() === machine.configuration.learners.join(),
      () =>
        `${name(watched)} takes ${configuration.voters.join()} for the voters at ${machine.index}, not ${machine.configuration.voters.join()}`,
    );
  }
}

function name(watched: Watched): string {
  return `replica ${watched.id.toString()}`;
}

function contentHash(entry: Entry): number {
  let hash = entry.type === 'command' ? 1 : entry.type === 'config' ? 2 : 3;
  for (const byte of entry.data) hash = mix(hash, byte);
  return hash;
}
