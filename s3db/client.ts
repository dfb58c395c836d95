import { CallEnd } from './call_end.ts';
import { ClientEndpoint, NotSentError, type Answer, type Call, type Endpoint } from './client_endpoint.ts';
import { encodeBatch } from './command.ts';
import type { Batch, Database, ReadOptions, ScanPage, ScanRequest, WriteOptions } from './database.ts';
import {
  ConditionFailedError,
  InvalidRequestError,
  UnavailableError,
  UnknownOutcomeError,
} from './errors.ts';
import { asBuffer } from './key_bytes.ts';
import { checkKey, checkTableName, validateBatch } from './level_tables.ts';
import { formatRequestId, mintRequestId, parseRequestId } from './request_id.ts';
import { binaryBatchType, binaryPageType, decodePage } from './rest/binary_page.ts';
import { toHex } from './rest/json_batch.ts';

export interface DatabaseClientOptions {
  /** Every replica; the more are given, the more may fail. */
  readonly endpoints: readonly Endpoint[];
  /** The cluster's CA, PEM. */
  readonly ca: string | Buffer;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** For calls that give none. Default 5 s. */
  readonly defaultDeadlineMs?: number;
  /** Connections to each replica. Default 64. */
  readonly connections?: number;
  /** A replica that is silent for so long gets company: the same request goes to another too. Default 400 ms. */
  readonly hedgeAfterMs?: number;
  /** 0 to 1, for jitter. */
  readonly random?: () => number;
}

const defaultDeadlineMs = 5000;
const defaultConnections = 64;
const defaultHedgeMs = 400;
const suspectMs = 1000;
const firstPauseMs = 10;
const lastPauseMs = 250;
/** What the server's deadline is shorter than ours, so that its answer arrives. */
const marginMs = 50;
/** With less time left no further attempt is made: it could only blur what is known of those before. */
const leastAttemptMs = 2 * marginMs;

/** Of the requests, this share may be sent to a second replica after `hedgeAfterMs`; saved up to so many. */
const hedgeShare = 0.1;
const maxHedgeBudget = 20;
const attemptOver = new Error('another replica answered first');

/** How an attempt ended: with an answer that settles the request, or in a way that allows another. */
type Attempt =
  | { readonly kind: 'answer'; readonly answer: Answer }
  | { readonly kind: 'retry'; readonly mayBeApplied: boolean; readonly reason: string };

/**
 * `Database` over the REST service. Goes to the leader it knows of, to another replica when one is silent or refuses, and
 * repeats under the same request id until the deadline, so that a batch applies once whatever fails on the way.
 */
export class DatabaseClient implements Database {
  readonly #options: DatabaseClientOptions;
  readonly #endpoints: readonly ClientEndpoint[];
  readonly #random: () => number;
  readonly #closer = new AbortController();
  readonly #closing = this.#closer.signal;
  #hedgeBudget = maxHedgeBudget;
  #preferred: ClientEndpoint;

  private constructor(options: DatabaseClientOptions) {
    this.#options = options;
    this.#random = options.random ?? Math.random;
    const { ca, region, accessKeyId, secretAccessKey } = options;
    const connections = options.connections ?? defaultConnections;
    this.#endpoints = options.endpoints.map(
      (endpoint) => new ClientEndpoint({ endpoint, ca, region, accessKeyId, secretAccessKey, connections }),
    );
    const first = this.#endpoints[Math.floor(this.#random() * this.#endpoints.length)];
    if (first === undefined) throw new InvalidRequestError('endpoints: at least one is needed');
    this.#preferred = first;
  }

  /** Connects when something is asked. @throws InvalidRequestError without endpoints. */
  static async open(options: DatabaseClientOptions): Promise<DatabaseClient> {
    return new DatabaseClient(options);
  }

  async get(table: string, key: Uint8Array, options: ReadOptions = {}): Promise<Uint8Array | undefined> {
    checkTableName(table);
    checkKey(key);
    const stale = options.consistency === 'stale' ? '?consistency=stale' : '';
    const path = `/v1/get/${table}/${toHex(key)}${stale}`;
    const answer = await this.#request({ method: 'GET', path, headers: {} }, options);
    if (answer.status === 404) return undefined;
    if (answer.status === 200) return answer.body;
    throw refusal(answer);
  }

  async scan(request: ScanRequest, options: ReadOptions = {}): Promise<ScanPage> {
    const { table, prefix, startAfter, delimiter, limit } = request;
    checkTableName(table);
    // In the order of the alphabet, in which they are signed.
    const query = [
      ...(options.consistency === 'stale' ? ['consistency=stale'] : []),
      ...(delimiter === undefined ? [] : [`delimiter=${toHex(delimiter)}`]),
      `limit=${limit}`,
      `prefix=${toHex(prefix)}`,
      ...(startAfter === undefined ? [] : [`start_after=${toHex(startAfter)}`]),
    ];
    const path = `/v1/scan/${table}?${query.join('&')}`;
    const answer = await this.#request({ method: 'GET', path, headers: { accept: binaryPageType } }, options);
    if (answer.status === 200) return decodePage(answer.body);
    throw refusal(answer);
  }

  async batch(batch: Batch, options: WriteOptions = {}): Promise<{ readonly index: number }> {
    validateBatch(batch);
    const requestId = options.requestId ?? formatRequestId(mintRequestId(Date.now()));
    if (parseRequestId(requestId) === undefined) throw new InvalidRequestError('requestId must be a UUIDv7');
    const headers = { 'content-type': binaryBatchType, 'x-request-id': requestId };
    const body = asBuffer(encodeBatch(batch));
    const answer = await this.#request({ method: 'POST', path: '/v1/batch', headers, body }, options);
    const json = parseJson(answer);
    if (answer.status === 200 && typeof json['index'] === 'number') return { index: json['index'] };
    if (answer.status === 412 && typeof json['condition'] === 'number') {
      throw new ConditionFailedError(json['condition']);
    }
    throw refusal(answer);
  }

  async close(): Promise<void> {
    this.#closer.abort(new UnavailableError('the client is closed'));
    await Promise.all(this.#endpoints.map((endpoint) => endpoint.close()));
  }

  /** Until an answer settles it. @throws UnavailableError, UnknownOutcomeError (writes only), the signal's reason. */
  async #request(
    call: Call,
    options: { readonly deadlineMs?: number; readonly signal?: AbortSignal },
  ): Promise<Answer> {
    const { signal } = options;
    signal?.throwIfAborted();
    this.#closing.throwIfAborted();
    const timeoutMs = options.deadlineMs ?? this.#options.defaultDeadlineMs ?? defaultDeadlineMs;
    const over = new CallEnd(timeoutMs, signal === undefined ? [this.#closing] : [this.#closing, signal]);
    try {
      return await this.#repeat(call, over);
    } finally {
      over.release();
    }
  }

  async #repeat(call: Call, over: CallEnd): Promise<Answer> {
    let mayBeApplied = false;
    let reason = 'no replica was asked';
    let pauseMs = firstPauseMs;
    for (let first = true; !over.cancelled; first = false) {
      if (!first && over.leftMs() < leastAttemptMs) break;
      const attempt = await this.#hedged(call, over);
      if (attempt.kind === 'answer') return attempt.answer;
      mayBeApplied ||= attempt.mayBeApplied;
      ({ reason } = attempt);
      await over.pause(Math.min(pauseMs * (0.5 + this.#random()), over.leftMs()));
      pauseMs = Math.min(pauseMs * 2, lastPauseMs);
    }
    const why = over.cancelled ? 'the call was given up' : 'the deadline passed';
    if (call.method === 'POST' && mayBeApplied) {
      throw new UnknownOutcomeError(`${why} after the write was sent: ${reason}`);
    }
    over.throwIfCancelled();
    throw new UnavailableError(`${why}: ${reason}`);
  }

  /** Asks one replica, and others one after the other while there is silence. The first answer that settles it wins. */
  async #hedged(call: Call, over: CallEnd): Promise<Attempt> {
    const order = this.#order();
    const running = new Map<ClientEndpoint, Promise<[ClientEndpoint, Attempt]>>();
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
          next?.suspect(performance.now() + suspectMs);
          if (next === this.#preferred) this.#preferNext();
          continue;
        }
        const [endpoint, attempt] = first;
        running.delete(endpoint);
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
    const hedgeAfterMs = this.#options.hedgeAfterMs ?? defaultHedgeMs;
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
    endpoint: ClientEndpoint,
    call: Call,
    options: { readonly over: CallEnd; readonly signal: AbortSignal },
  ): Promise<[ClientEndpoint, Attempt]> {
    const timeoutMs = Math.max(1, Math.floor(options.over.leftMs() - marginMs));
    const headers = { ...call.headers, 'x-s3db-timeout-ms': String(timeoutMs) };
    try {
      const answer = await endpoint.send({ ...call, headers }, options.signal);
      return [endpoint, this.#judge(endpoint, answer)];
    } catch (error) {
      endpoint.suspect(performance.now() + suspectMs);
      if (endpoint === this.#preferred) this.#preferNext();
      const text = error instanceof Error ? error.message : String(error);
      const mayBeApplied = !(error instanceof NotSentError);
      return [endpoint, { kind: 'retry', mayBeApplied, reason: `${endpoint.name}: ${text}` }];
    }
  }

  #judge(endpoint: ClientEndpoint, answer: Answer): Attempt {
    const leader = this.#endpoints.find(({ name }) => name === answer.leader);
    if (leader !== undefined && !leader.isSuspect(performance.now())) this.#preferred = leader;
    if (answer.status < 500 || answer.status === 501) return { kind: 'answer', answer };
    if (endpoint === this.#preferred) this.#preferNext();
    const reason = `${endpoint.name}: ${answer.status} ${messageOf(answer)}`;
    return { kind: 'retry', mayBeApplied: answer.status !== 503, reason };
  }

  /** The one that leads as far as is known, then those that were well lately, then the others. */
  #order(): ClientEndpoint[] {
    const nowMs = performance.now();
    const rank = (endpoint: ClientEndpoint): number =>
      (endpoint.isSuspect(nowMs) ? 2 : 0) + (endpoint === this.#preferred ? 0 : 1);
    return this.#endpoints.toSorted((a, b) => rank(a) - rank(b));
  }

  #preferNext(): void {
    const at = this.#endpoints.indexOf(this.#preferred);
    this.#preferred = this.#endpoints[(at + 1) % this.#endpoints.length] ?? this.#preferred;
  }
}

/** An answer below 500 that isn't what was hoped for. */
function refusal(answer: Answer): Error {
  const message = messageOf(answer);
  if (answer.status === 409) {
    return new UnknownOutcomeError(`the request id is too old to know what became of the write: ${message}`);
  }
  return new InvalidRequestError(`${answer.status}: ${message}`);
}

function messageOf(answer: Answer): string {
  const json = parseJson(answer);
  const text = json['message'];
  return typeof text === 'string' ? text : `status ${answer.status}`;
}

function parseJson(answer: Answer): Readonly<Record<string, unknown>> {
  try {
    const json: unknown = JSON.parse(asBuffer(answer.body).toString('utf8'));
    return typeof json === 'object' && json !== null ? (json as Readonly<Record<string, unknown>>) : {};
  } catch (error) {
    if (error instanceof SyntaxError) return {};
    throw error;
  }
}
