import { CallEnd } from './call_end.ts';
import { ClientEndpoint, type Endpoint } from './client_endpoint.ts';
import { encodeBatch } from './command.ts';
import type { Batch, Database, ReadOptions, ScanPage, ScanRequest, WriteOptions } from './database.ts';
import {
  ConditionFailedError,
  InvalidRequestError,
  UnavailableError,
  UnknownOutcomeError,
} from './errors.ts';
import { checkKey, checkTableName, validateBatch } from './level_tables.ts';
import {
  NotSentError,
  type Answer,
  type DatabaseCall,
  type ReplicaLink,
  type Reply,
} from './link/replica_link.ts';
import { RestLink } from './link/rest_link.ts';
import { mintRequestId, parseRequestId } from './request_id.ts';

/** How a client goes about its calls. */
export interface CallPolicy {
  /** For calls that give none. Default 5 s. */
  readonly defaultDeadlineMs?: number;
  /** A replica that is silent for so long gets company: the same request goes to another too. Default 400 ms. */
  readonly hedgeAfterMs?: number;
  /** 0 to 1, for jitter. */
  readonly random?: () => number;
}

export interface DatabaseClientOptions extends CallPolicy {
  /** Every replica; the more are given, the more may fail. */
  readonly endpoints: readonly Endpoint[];
  /** The cluster's CA, PEM. */
  readonly ca: string | Buffer;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Connections to each replica. Default 64. */
  readonly connections?: number;
}

const defaultDeadlineMs = 5000;
const defaultConnections = 64;
const defaultHedgeMs = 400;
const suspectMs = 1000;
const firstPauseMs = 10;
const lastPauseMs = 250;
/** What the server's deadline is shorter than ours, so that its answer arrives: a tenth, within these bounds. */
const marginMs = 50;
const longestMarginMs = 400;
/** With less time left no further attempt is made: it could only blur what is known of those before. */
const leastAttemptMs = 2 * marginMs;

/** Of the requests, this share may be sent to a second replica after `hedgeAfterMs`; saved up to so many. */
const hedgeShare = 0.1;
const maxHedgeBudget = 20;
const attemptOver = new Error('another replica answered first');

/** A reply that settles a call. */
type Settled = Exclude<Reply, { kind: 'retry' }>;

/** How an attempt ended: with an answer that settles the request, or in a way that allows another. */
type Attempt =
  | { readonly kind: 'answer'; readonly reply: Settled }
  | { readonly kind: 'retry'; readonly mayBeApplied: boolean; readonly reason: string };

/**
 * `Database` in another process. Goes to the leader it knows of, to another replica when one is silent or refuses, and
 * repeats under the same request id until the deadline, so that a batch applies once whatever fails on the way.
 */
export class DatabaseClient implements Database {
  readonly #policy: CallPolicy;
  readonly #replicas: readonly KnownReplica[];
  readonly #random: () => number;
  readonly #closer = new AbortController();
  readonly #closing = this.#closer.signal;
  #hedgeBudget = maxHedgeBudget;
  #preferred: KnownReplica;

  private constructor(links: readonly ReplicaLink[], policy: CallPolicy) {
    this.#policy = policy;
    this.#random = policy.random ?? Math.random;
    this.#replicas = links.map((link) => ({ link, suspectUntilMs: 0 }));
    const first = this.#replicas[Math.floor(this.#random() * this.#replicas.length)];
    if (first === undefined) throw new InvalidRequestError('endpoints: at least one is needed');
    this.#preferred = first;
  }

  /** Over REST. Connects when something is asked. @throws InvalidRequestError without endpoints. */
  static async open(options: DatabaseClientOptions): Promise<DatabaseClient> {
    const { ca, region, accessKeyId, secretAccessKey } = options;
    const connections = options.connections ?? defaultConnections;
    const links = options.endpoints.map(
      (endpoint) =>
        new RestLink(new ClientEndpoint({ endpoint, ca, region, accessKeyId, secretAccessKey, connections })),
    );
    return new DatabaseClient(links, options);
  }

  /** Over links of any kind, one a replica. It closes them. @throws InvalidRequestError without links. */
  static over(links: readonly ReplicaLink[], policy: CallPolicy = {}): DatabaseClient {
    return new DatabaseClient(links, policy);
  }

  async get(table: string, key: Uint8Array, options: ReadOptions = {}): Promise<Uint8Array | undefined> {
    checkTableName(table);
    checkKey(key);
    const reply = await this.#request(
      { kind: 'get', table, key, stale: options.consistency === 'stale' },
      options,
    );
    if (reply.kind === 'value') return reply.value;
    throw refusal(reply);
  }

  async scan(request: ScanRequest, options: ReadOptions = {}): Promise<ScanPage> {
    checkTableName(request.table);
    const reply = await this.#request(
      { kind: 'scan', request, stale: options.consistency === 'stale' },
      options,
    );
    if (reply.kind === 'page') return reply.page;
    throw refusal(reply);
  }

  async batch(batch: Batch, options: WriteOptions = {}): Promise<{ readonly index: number }> {
    validateBatch(batch);
    const requestId =
      options.requestId === undefined ? mintRequestId(Date.now()) : parseRequestId(options.requestId);
    if (requestId === undefined) throw new InvalidRequestError('requestId must be a UUIDv7');
    const reply = await this.#request({ kind: 'batch', body: encodeBatch(batch), requestId }, options);
    if (reply.kind === 'applied') return { index: reply.index };
    if (reply.kind === 'conditionFailed') throw new ConditionFailedError(reply.condition);
    throw refusal(reply);
  }

  async close(): Promise<void> {
    this.#closer.abort(new UnavailableError('the client is closed'));
    await Promise.all(this.#replicas.map(({ link }) => link.close()));
  }

  /** Until an answer settles it. @throws UnavailableError, UnknownOutcomeError (writes only), the signal's reason. */
  async #request(
    call: DatabaseCall,
    options: { readonly deadlineMs?: number; readonly signal?: AbortSignal },
  ): Promise<Settled> {
    const { signal } = options;
    signal?.throwIfAborted();
    this.#closing.throwIfAborted();
    const timeoutMs = options.deadlineMs ?? this.#policy.defaultDeadlineMs ?? defaultDeadlineMs;
    const over = new CallEnd(timeoutMs, signal === undefined ? [this.#closing] : [this.#closing, signal]);
    try {
      return await this.#repeat(call, over);
    } finally {
      over.release();
    }
  }

  async #repeat(call: DatabaseCall, over: CallEnd): Promise<Settled> {
    let mayBeApplied = false;
    let reason = 'no replica was asked';
    let pauseMs = firstPauseMs;
    for (let first = true; !over.cancelled; first = false) {
      if (!first && over.leftMs() < leastAttemptMs) break;
      const attempt = await this.#hedged(call, over);
      if (attempt.kind === 'answer') return attempt.reply;
      mayBeApplied ||= attempt.mayBeApplied;
      ({ reason } = attempt);
      await over.pause(Math.min(pauseMs * (0.5 + this.#random()), over.leftMs()));
      pauseMs = Math.min(pauseMs * 2, lastPauseMs);
    }
    const why = over.cancelled ? 'the call was given up' : 'the deadline passed';
    if (call.kind === 'batch' && mayBeApplied) {
      throw new UnknownOutcomeError(`${why} after the write was sent: ${reason}`);
    }
    over.throwIfCancelled();
    throw new UnavailableError(`${why}: ${reason}`);
  }

  /** Asks one replica, and others one after the other while there is silence. The first answer that settles it wins. */
  async #hedged(call: DatabaseCall, over: CallEnd): Promise<Attempt> {
    const order = this.#order();
    const running = new Map<KnownReplica, Promise<[KnownReplica, Attempt]>>();
    let ended: AbortController | undefined;
    let mayBeApplied = false;
    let reason = '';
    this.#hedgeBudget = Math.min(maxHedgeBudget, this.#hedgeBudget + hedgeShare);
    try {
      ended = over.branch();
      while (order.length > 0 || running.size > 0) {
        const next = order.shift();
        if (next !== undefined) running.set(next, this.#attempt(next, call, { over, signal: ended.signal }));
        const first = await this.#firstOf([...running.values()], order.length > 0);
        if (first === undefined) {
          // Silent: keep listening, and ask the next one as well.
          if (next !== undefined) this.#suspect(next);
          continue;
        }
        const [replica, attempt] = first;
        running.delete(replica);
        if (attempt.kind === 'answer') return attempt;
        mayBeApplied ||= attempt.mayBeApplied;
        ({ reason } = attempt);
      }
      return { kind: 'retry', mayBeApplied, reason };
    } finally {
      if (running.size > 0) ended?.abort(attemptOver);
    }
  }

  /**
   * The first that ends; undefined after a silence, if there is someone else to ask. Only a share of the requests gets company
   * early: when all replicas are slow under load, more requests would only make them slower.
   */
  async #firstOf<T>(running: readonly Promise<T>[], othersLeft: boolean): Promise<T | undefined> {
    if (!othersLeft) return Promise.race(running);
    const hedgeAfterMs = this.#policy.hedgeAfterMs ?? defaultHedgeMs;
    let timer: NodeJS.Timeout | undefined;
    const silence = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => {
        if (this.#hedgeBudget >= 1) {
          this.#hedgeBudget--;
          resolve(undefined);
        } else {
          timer = setTimeout(() => resolve(undefined), 3 * hedgeAfterMs);
        }
      }, hedgeAfterMs);
    });
    try {
      return await Promise.race([...running, silence]);
    } finally {
      clearTimeout(timer);
    }
  }

  async #attempt(
    replica: KnownReplica,
    call: DatabaseCall,
    options: { readonly over: CallEnd; readonly signal: AbortSignal },
  ): Promise<[KnownReplica, Attempt]> {
    const leftMs = options.over.leftMs();
    const answerMs = Math.min(Math.max(leftMs / 10, marginMs), longestMarginMs);
    const timeoutMs = Math.max(1, Math.floor(leftMs - answerMs));
    try {
      const answer = await replica.link.send(call, { timeoutMs, signal: options.signal });
      return [replica, this.#judge(replica, answer)];
    } catch (error) {
      this.#suspect(replica);
      const text = error instanceof Error ? error.message : String(error);
      const mayBeApplied = !(error instanceof NotSentError);
      return [replica, { kind: 'retry', mayBeApplied, reason: `${replica.link.name}: ${text}` }];
    }
  }

  #judge(replica: KnownReplica, { reply, leader: leaderName }: Answer): Attempt {
    const leader = this.#replicas.find(({ link }) => link.name === leaderName);
    if (leader !== undefined && !isSuspect(leader, performance.now())) this.#preferred = leader;
    if (reply.kind !== 'retry') return { kind: 'answer', reply };
    if (replica === this.#preferred) this.#preferNext();
    return { ...reply, reason: `${replica.link.name}: ${reply.reason}` };
  }

  /** The one that leads as far as is known, then those that were well lately, then the others. */
  #order(): KnownReplica[] {
    const nowMs = performance.now();
    const rank = (replica: KnownReplica): number =>
      (isSuspect(replica, nowMs) ? 2 : 0) + (replica === this.#preferred ? 0 : 1);
    return this.#replicas.toSorted((a, b) => rank(a) - rank(b));
  }

  #suspect(replica: KnownReplica): void {
    replica.suspectUntilMs = performance.now() + suspectMs;
    if (replica === this.#preferred) this.#preferNext();
  }

  #preferNext(): void {
    const at = this.#replicas.indexOf(this.#preferred);
    this.#preferred = this.#replicas[(at + 1) % this.#replicas.length] ?? this.#preferred;
  }
}

/** A replica and how it has been lately. */
interface KnownReplica {
  readonly link: ReplicaLink;
  suspectUntilMs: number;
}

function isSuspect(replica: KnownReplica, nowMs: number): boolean {
  return nowMs < replica.suspectUntilMs;
}

/** What settles a call without giving what it asked for. */
function refusal(reply: Reply): Error {
  return reply.kind === 'refused' ? reply.error : new Error(`an answer of the wrong kind: ${reply.kind}`);
}
