import { RaftCore } from '../core.ts';
import type { RaftOptions } from '../core.ts';
import type { Configuration, Entry, HardState, Message, ReadState, SnapshotMeta } from '../types.ts';

export function voters(...ids: bigint[]): Configuration {
  return { voters: ids, learners: [], removed: [] };
}

/** Entries of these terms, from index `first` on. */
export function entriesOf(terms: readonly number[], first = 1): Entry[] {
  return terms.map((term, i) => ({
    term,
    index: first + i,
    type: 'command',
    data: new Uint8Array([first + i]),
  }));
}

interface ReplicaOptions {
  readonly id?: bigint;
  readonly configuration?: Configuration;
  readonly terms?: readonly number[];
  /** In place of `terms`. */
  readonly entries?: readonly Entry[];
  readonly hardState?: Partial<HardState>;
  readonly snapshot?: SnapshotMeta;
  readonly applied?: number;
  readonly core?: Partial<RaftOptions>;
}

/** A core with a disk that is done at once (`settle`) or when the test says so (`take`). */
export class Replica {
  readonly core: RaftCore;
  readonly #options: ReplicaOptions;
  #snapshot: SnapshotMeta;
  /** What would be on disk. */
  log: Entry[];
  hardState: HardState;
  applied: Entry[] = [];
  reads: ReadState[] = [];
  installed: SnapshotMeta[] = [];

  constructor(options: ReplicaOptions = {}) {
    const { id = 1n, configuration = voters(1n, 2n, 3n), terms = [] } = options;
    const snapshot = options.snapshot ?? { index: 0, term: 0, configuration };
    this.#options = options;
    this.#snapshot = snapshot;
    this.log = options.entries === undefined ? entriesOf(terms, snapshot.index + 1) : [...options.entries];
    this.hardState = {
      term: Math.max(0, snapshot.term, ...terms),
      vote: 0n,
      commit: 0,
      ...options.hardState,
    };
    this.core = new RaftCore({
      id,
      hardState: this.hardState,
      log: { snapshot, entries: this.log },
      applied: options.applied ?? snapshot.index,
      electionTicks: 10,
      heartbeatTicks: 2,
      maxInflightMessages: 16,
      maxMessageBytes: 1024,
      maxUncommittedBytes: 4096,
      random: () => 0,
      ...options.core,
    });
  }

  /** Takes one batch, makes it durable, applies it. @returns what may leave. */
  settleOnce(): Message[] {
    const ready = this.core.ready();
    if (ready.hardState !== undefined) this.hardState = ready.hardState;
    if (ready.snapshot !== undefined) {
      this.installed.push(ready.snapshot);
      this.#snapshot = ready.snapshot;
      this.log = [];
    }
    const first = ready.entries[0];
    if (first !== undefined)
      this.log = [...this.log.filter((entry) => entry.index < first.index), ...ready.entries];
    if (ready.persist !== undefined) this.core.persisted(ready.persist.term, ready.persist.index);
    this.applied.push(...ready.committed);
    this.reads.push(...ready.readStates);
    const last = ready.committed.at(-1);
    if (last !== undefined) this.core.applied(last.index);
    return [...ready.messages, ...ready.afterPersist];
  }

  /** What comes up from the same disk. */
  restarted(): Replica {
    const { applied } = this.core.status();
    const { hardState, log: entries } = this;
    return new Replica({ ...this.#options, snapshot: this.#snapshot, entries, hardState, applied });
  }

  compact(index: number): void {
    const snapshot = this.core.snapshotAt(index);
    this.core.compact(index);
    this.#snapshot = snapshot;
    this.log = this.log.filter((entry) => entry.index > index);
  }

  /** Until nothing is left to do. @returns what may leave. */
  settle(): Message[] {
    const messages: Message[] = [];
    for (let round = 0; this.core.hasReady(); round++) {
      if (round > 1000) throw new Error('never settles');
      messages.push(...this.settleOnce());
    }
    return messages;
  }

  step(message: Partial<Message> & { type: Message['type'] }): Message[] {
    const { id, term } = this.core.status();
    this.core.step({ from: 2n, to: id, term, ...defaults[message.type], ...message } as Message);
    return this.settle();
  }

  tick(count = 1): Message[] {
    for (let i = 0; i < count; i++) this.core.tick();
    return this.settle();
  }

  /** Wins an election with the votes of `from`. @returns what leaves at the end. */
  elect(...from: bigint[]): Message[] {
    this.tick(10);
    const { term } = this.core.status();
    for (const voter of from) this.step({ type: 'preVoteReply', from: voter, term: term + 1, granted: true });
    let messages = this.settle();
    for (const voter of from) messages = this.step({ type: 'voteReply', from: voter, granted: true });
    if (this.core.status().role !== 'leader') throw new Error('not elected');
    return messages;
  }
}

const defaults: { readonly [type in Message['type']]: object } = {
  preVote: { lastIndex: 0, lastTerm: 0, transfer: false },
  vote: { lastIndex: 0, lastTerm: 0, transfer: false },
  preVoteReply: { granted: true },
  voteReply: { granted: true },
  append: { prevIndex: 0, prevTerm: 0, entries: [], commit: 0 },
  appendReply: { accepted: true, index: 0, hintIndex: 0, hintTerm: 0 },
  heartbeat: { commit: 0, nonce: 0 },
  heartbeatReply: { nonce: 0 },
  snapshot: {},
  readIndex: { requestId: 1 },
  readIndexReply: { requestId: 1, index: 0, ok: true },
  timeoutNow: {},
};

export function command(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** Several replicas whose messages are delivered at once, unless a link is cut. */
export class Group {
  readonly replicas: ReadonlyMap<bigint, Replica>;
  /** Messages for which this is true are lost. */
  cut: (message: Message) => boolean = () => false;

  constructor(...replicas: Replica[]) {
    this.replicas = new Map(replicas.map((replica) => [replica.core.status().id, replica]));
  }

  /** Delivers until nothing moves. */
  run(): void {
    for (let round = 0; round < 1000; round++) {
      const messages = [...this.replicas.values()].flatMap((replica) => replica.settle());
      if (messages.length === 0) return;
      for (const message of messages) {
        if (!this.cut(message)) this.replicas.get(message.to)?.core.step(message);
      }
    }
    throw new Error('never comes to rest');
  }

  tick(count = 1): void {
    for (let i = 0; i < count; i++) {
      for (const replica of this.replicas.values()) replica.core.tick();
      this.run();
    }
  }

  at(id: bigint): Replica {
    const replica = this.replicas.get(id);
    if (replica === undefined) throw new Error(`no replica ${id.toString()}`);
    return replica;
  }

  /** Lets one replica time out, and the others' election timers run out of contact, until it leads. */
  elect(id: bigint): void {
    for (const replica of this.replicas.values()) {
      if (replica.core.status().id !== id) for (let i = 0; i < 9; i++) replica.core.tick();
    }
    this.at(id).tick(0);
    for (let i = 0; i < 20 && this.at(id).core.status().role !== 'leader'; i++) {
      this.at(id).core.tick();
      this.run();
    }
    if (this.at(id).core.status().role !== 'leader') throw new Error(`${id.toString()} was not elected`);
  }
}
