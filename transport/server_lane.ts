import type { Buffer } from 'node:buffer';
import { BodyReader, type CreditBudget } from './body_reader.ts';
import { BodySender } from './body_sender.ts';
import { emptyBody } from './client_lane.ts';
import { Deadlines, type Due } from './deadlines.ts';
import { TransportError, messageOf } from './errors.ts';
import { decodeNamed, decodeRequest, encodeError, flagEnd, flagRemote, frameType } from './frame.ts';
import type { RequestFrame } from './frame.ts';
import type { Lane, LaneRole } from './lane.ts';
import { bulkWindowBytes, maxActiveRequests, maxHeaderBytes, smallWindowBytes } from './limits.ts';
import type { Handler, IncomingCall, PeerId } from './transport.ts';

/** The methods of all handler sets of a server. */
interface HandlerTable {
  readonly calls: ReadonlyMap<string, Handler>;
  readonly notices: ReadonlyMap<string, (from: PeerId, payload: Uint8Array) => void>;
}

interface ServerLaneOptions {
  readonly lane: Lane;
  readonly handlers: HandlerTable;
  /** For the bodies of requests. */
  readonly budget: CreditBudget;
  onClosed(error: TransportError): void;
  /** A handler of a notice threw; there is nobody to tell. */
  onNoticeError(method: string, error: unknown): void;
}

/** Half of a lane that answers requests. */
export class ServerLane implements LaneRole {
  readonly lane: Lane;
  readonly from: PeerId;
  readonly deadlines = new Deadlines();
  readonly windowBytes: number;
  readonly #options: ServerLaneOptions;
  readonly #calls = new Map<number, ServerCall>();
  /** Handlers that run, also those whose call is over. */
  #running = 0;
  #idle: (() => void) | undefined;
  #lastId = 0;

  constructor(options: ServerLaneOptions) {
    this.#options = options;
    this.lane = options.lane;
    this.from = options.lane.hello.from;
    this.windowBytes = options.lane.kind === 'bulk' ? bulkWindowBytes : smallWindowBytes;
    options.lane.attach(this);
  }

  onFrame(type: number, flags: number, id: number, payload: Buffer): void {
    switch (type) {
      case frameType.request:
        this.#onRequest(id, decodeRequest(payload), (flags & flagEnd) !== 0);
        return;
      case frameType.credit:
        this.#known(id);
        if (payload.length !== 4) throw new TransportError('protocol', 'a broken CREDIT');
        this.#calls.get(id)?.onCredit(payload.readUInt32BE(0));
        return;
      case frameType.cancel:
        this.#known(id);
        this.#calls.get(id)?.onCancel();
        return;
      case frameType.notice:
        this.#onNotice(payload);
        return;
      default:
        throw new TransportError('protocol', `frame of type ${type} isn't for a server`);
    }
  }

  onData(id: number, part: Buffer, last: boolean): void {
    this.#known(id);
    // Of a call that is over: the other side doesn't know yet.
    this.#calls.get(id)?.onData(part, last);
  }

  onClosed(error: TransportError): void {
    for (const call of this.#calls.values()) call.onLost(error);
    this.#calls.clear();
    this.deadlines.close();
    this.#options.onClosed(error);
  }

  /** Resolves when no handler runs any more. */
  settled(): Promise<void> {
    if (this.#running === 0) return Promise.resolve();
    return new Promise((resolve) => (this.#idle = resolve));
  }

  // What follows is for ServerCall.

  get budget(): CreditBudget {
    return this.#options.budget;
  }

  finished(id: number): void {
    this.#calls.delete(id);
  }

  handlerSettled(): void {
    this.#running--;
    if (this.#running === 0) this.#idle?.();
  }

  error(
    id: number,
    failure: { readonly code: string; readonly message: string; readonly remote: boolean },
  ): void {
    this.lane.writer.frame(
      frameType.error,
      { id, flags: failure.remote ? flagRemote : 0 },
      encodeError(failure.code, failure.message),
    );
  }

  #onRequest(id: number, request: RequestFrame, end: boolean): void {
    if (id <= this.#lastId) throw new TransportError('protocol', `request ${id} came before`);
    this.#lastId = id;
    const handler = this.#options.handlers.calls.get(request.method);
    if (handler === undefined) {
      const message = `nobody serves the method ${JSON.stringify(request.method)}`;
      this.error(id, { code: 'protocol', message, remote: false });
      return;
    }
    if (this.#running >= maxActiveRequests || this.#calls.size >= maxActiveRequests) {
      this.error(id, {
        code: 'overloaded',
        message: `${maxActiveRequests} requests are at work`,
        remote: false,
      });
      return;
    }
    const call = new ServerCall(this, { id, request, end });
    this.#calls.set(id, call);
    this.#running++;
    call.run(handler);
  }

  #onNotice(payload: Buffer): void {
    const { name, rest } = decodeNamed(payload);
    const handler = this.#options.handlers.notices.get(name);
    if (handler === undefined) throw new TransportError('protocol', `nobody takes the notice ${name}`);
    try {
      handler(this.from, rest);
    } catch (error) {
      this.#options.onNoticeError(name, error);
    }
  }

  #known(id: number): void {
    if (id === 0 || id > this.#lastId) throw new TransportError('protocol', `there is no request ${id}`);
  }
}

interface IncomingRequest {
  readonly id: number;
  readonly request: RequestFrame;
  /** Without a body. */
  readonly end: boolean;
}

/** One request at work. It is also what its handler sees. */
class ServerCall implements IncomingCall, Due {
  readonly header: Uint8Array;
  readonly body: AsyncIterable<Uint8Array>;
  dueMs: number;
  readonly #lane: ServerLane;
  readonly #id: number;
  readonly #deadlineMs: number;
  readonly #reader: BodyReader | undefined;
  #sender: BodySender | undefined;
  /** Made only for a handler that looks at it. */
  #abort: AbortController | undefined;
  #over: TransportError | 'done' | undefined;

  constructor(lane: ServerLane, incoming: IncomingRequest) {
    this.#lane = lane;
    this.#id = incoming.id;
    this.#deadlineMs = incoming.request.deadlineMs;
    this.header = incoming.request.header;
    this.dueMs = performance.now() + this.#deadlineMs;
    lane.deadlines.add(this);
    if (incoming.end) {
      this.body = emptyBody;
      return;
    }
    this.#reader = new BodyReader({
      windowBytes: lane.windowBytes,
      budget: lane.budget,
      grant: (bytes) => lane.lane.writer.credit(this.#id, bytes),
      onProgress: () => this.#progress(),
      onReturn: () => {
        if (this.#over === undefined) lane.lane.writer.frame(frameType.cancel, { id: this.#id });
      },
      onFinished: () => undefined,
    });
    this.body = this.#reader;
  }

  get from(): PeerId {
    return this.#lane.from;
  }

  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      if (this.#over instanceof TransportError) this.#abort.abort(this.#over);
    }
    return this.#abort.signal;
  }

  run(handler: Handler): void {
    void this.#run(handler);
  }

  onData(part: Buffer, last: boolean): void {
    if (this.#reader === undefined) throw new TransportError('protocol', 'a body after its end');
    if (!this.#reader.push(part, last)) throw new TransportError('protocol', 'more body than was granted');
  }

  onCredit(bytes: number): void {
    this.#sender?.grant(bytes);
  }

  onCancel(): void {
    this.onLost(new TransportError('cancelled', 'the caller gave the call up'));
  }

  onLost(error: TransportError): void {
    if (this.#finish(error)) this.#lane.finished(this.#id);
  }

  onDue(): void {
    const error = new TransportError('deadline', `nothing moved for ${this.#deadlineMs} ms`);
    this.#lane.error(this.#id, { code: error.code, message: error.message, remote: false });
    this.onLost(error);
  }

  async #run(handler: Handler): Promise<void> {
    let response;
    try {
      response = await handler(this);
      if ((response.header?.length ?? 0) > maxHeaderBytes) {
        throw new TypeError(`a response's header has at most ${maxHeaderBytes} bytes`);
      }
    } catch (error) {
      this.#fail(error);
      return;
    } finally {
      this.#lane.handlerSettled();
    }
    if (this.#over !== undefined) {
      // Nobody wants it any more; its source must know.
      if (response.body !== undefined) discard(response.body);
      return;
    }
    this.#progress();
    const writer = this.#lane.lane.writer;
    const header = response.header ?? empty;
    if (response.body === undefined) {
      writer.frame(frameType.response, { id: this.#id, flags: flagEnd }, header);
      this.#done();
      return;
    }
    writer.frame(frameType.response, { id: this.#id }, header);
    this.#sender = new BodySender({
      id: this.#id,
      writer,
      onProgress: () => this.#progress(),
      onDone: (error) => {
        this.#sender = undefined;
        if (error === undefined) this.#done();
        else this.#fail(error.cause);
      },
    });
    this.#sender.start(response.body);
  }

  #fail(error: unknown): void {
    if (this.#over !== undefined) return;
    const code = error instanceof TransportError ? (error.remoteCode ?? error.code) : 'internal';
    this.#lane.error(this.#id, { code, message: messageOf(error), remote: true });
    this.onLost(
      error instanceof TransportError
        ? error
        : new TransportError('cancelled', 'the handler failed', { cause: error }),
    );
  }

  /** The response has left, and with it the call is over: the caller sends no more of its body either. */
  #done(): void {
    if (this.#finish('done')) this.#lane.finished(this.#id);
  }

  #progress(): void {
    this.dueMs = performance.now() + this.#deadlineMs;
  }

  #finish(how: TransportError | 'done'): boolean {
    if (this.#over !== undefined) return false;
    this.#over = how;
    this.#lane.deadlines.delete(this);
    this.#reader?.fail(how === 'done' ? new TransportError('cancelled', 'the call is over') : how);
    this.#sender?.stop();
    this.#sender = undefined;
    if (how !== 'done') this.#abort?.abort(how);
    return true;
  }
}

/** Tells a source that nobody reads it, without waiting for it: how it ends concerns nobody any more. */
function discard(body: AsyncIterable<Uint8Array>): void {
  const iterator = body[Symbol.asyncIterator]();
  if (iterator.return !== undefined) iterator.return().catch(() => undefined);
}

const empty = new Uint8Array(0);
