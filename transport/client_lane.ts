import { Buffer } from 'node:buffer';
import { BodyReader, type CreditBudget } from './body_reader.ts';
import { BodySender } from './body_sender.ts';
import { Deadlines, type Due } from './deadlines.ts';
import { TransportError, messageOf, type TransportErrorCode } from './errors.ts';
import { decodeNamed, flagEnd, flagRemote, frameType } from './frame.ts';
import type { Lane, LaneRole } from './lane.ts';
import {
  bulkWindowBytes,
  maxActiveRequests,
  maxHeaderBytes,
  maxMethodBytes,
  maxNoticeBytes,
  maxQueuedNoticeBytes,
  maxWaitingCalls,
  smallWindowBytes,
} from './limits.ts';
import type { CallOptions, CallRequest, CallResponse } from './transport.ts';

export interface OutgoingCall {
  readonly method: string;
  readonly request: CallRequest;
  readonly options: CallOptions;
}

interface ClientLaneOptions {
  readonly lane: Lane;
  /** For the bodies of responses. */
  readonly budget: CreditBudget;
  onClosed(error: TransportError): void;
}

const emptyHeader = new Uint8Array(0);

/** Half of a lane that makes requests. */
export class ClientLane implements LaneRole {
  readonly lane: Lane;
  readonly #onClosed: (error: TransportError) => void;
  readonly #budget: CreditBudget;
  readonly #deadlines = new Deadlines();
  readonly #calls = new Map<number, ClientCall>();
  readonly #waiting = new Set<ClientCall>();
  readonly #windowBytes: number;
  #lastId = 0;

  constructor(options: ClientLaneOptions) {
    const { lane } = options;
    this.lane = lane;
    this.#onClosed = (error) => options.onClosed(error);
    this.#budget = options.budget;
    this.#windowBytes = lane.kind === 'bulk' ? bulkWindowBytes : smallWindowBytes;
    lane.attach(this);
  }

  call(outgoing: OutgoingCall): Promise<CallResponse> {
    return new Promise((resolve, reject) => {
      if (this.lane.closed) {
        reject(new TransportError('unreachable', 'the connection was lost'));
        return;
      }
      if (this.#calls.size < maxActiveRequests) {
        this.#start(new ClientCall(this, outgoing, { resolve, reject }));
      } else if (this.#waiting.size < maxWaitingCalls) {
        this.#waiting.add(new ClientCall(this, outgoing, { resolve, reject }));
      } else {
        reject(new TransportError('overloaded', `${maxWaitingCalls} calls wait for this peer already`));
      }
    });
  }

  /** False: too much waits already, or it is too large for a notice. */
  notify(method: Buffer, payload: Uint8Array): boolean {
    if (this.lane.closed || payload.length > maxNoticeBytes) return false;
    if (this.lane.writer.queuedBytes + payload.length > maxQueuedNoticeBytes) return false;
    this.lane.writer.frame(frameType.notice, {}, method, payload);
    return true;
  }

  /** No call is at work or waits for its turn. */
  get idle(): boolean {
    return this.#calls.size === 0 && this.#waiting.size === 0;
  }

  close(error: TransportError): void {
    this.lane.destroy(error);
  }

  onFrame(type: number, flags: number, id: number, payload: Buffer): void {
    const call = this.#calls.get(id);
    switch (type) {
      case frameType.response:
        this.#known(id);
        call?.onResponse(payload, (flags & flagEnd) !== 0);
        return;
      case frameType.credit:
        this.#known(id);
        if (payload.length !== 4) throw new TransportError('protocol', 'a broken CREDIT');
        call?.onCredit(payload.readUInt32BE(0));
        return;
      case frameType.cancel:
        this.#known(id);
        call?.onStop();
        return;
      case frameType.error: {
        this.#known(id);
        const { name, rest } = decodeNamed(payload);
        call?.onError(errorFrom(name, rest.toString('utf8'), (flags & flagRemote) !== 0));
        return;
      }
      default:
        throw new TransportError('protocol', `frame of type ${type} isn't for a client`);
    }
  }

  onData(id: number, part: Buffer, last: boolean): void {
    this.#known(id);
    // Of a call that was given up: the other side doesn't know yet.
    this.#calls.get(id)?.onData(part, last);
  }

  onClosed(error: TransportError): void {
    this.#deadlines.close();
    const lost =
      error.code === 'refused' || error.code === 'protocol'
        ? error
        : new TransportError('unreachable', `the connection was lost: ${error.message}`, { cause: error });
    for (const call of this.#calls.values()) call.onLost(lost);
    for (const call of this.#waiting) call.onLost(lost);
    this.#calls.clear();
    this.#waiting.clear();
    this.#onClosed(error);
  }

  // What follows is for ClientCall.

  get budget(): CreditBudget {
    return this.#budget;
  }

  get windowBytes(): number {
    return this.#windowBytes;
  }

  get deadlines(): Deadlines {
    return this.#deadlines;
  }

  /** The call is over: its place goes to the one that waits longest. */
  finished(call: ClientCall): void {
    if (!this.#calls.delete(call.id)) {
      this.#waiting.delete(call);
      return;
    }
    for (const next of this.#waiting) {
      this.#waiting.delete(next);
      this.#start(next);
      break;
    }
  }

  #start(call: ClientCall): void {
    const id = ++this.#lastId;
    this.#calls.set(id, call);
    call.start(id);
  }

  #known(id: number): void {
    if (id === 0 || id > this.#lastId) throw new TransportError('protocol', `there is no request ${id}`);
  }
}

function errorFrom(name: string, message: string, remote: boolean): TransportError {
  if (remote) return new TransportError('remote', message, { remoteCode: name });
  const known: readonly TransportErrorCode[] = ['deadline', 'cancelled', 'refused', 'overloaded', 'protocol'];
  return new TransportError(known.find((code) => code === name) ?? 'protocol', message);
}

const methodNames = new Map<string, Buffer>();
/** Programs have few methods; what comes beyond isn't kept. */
const keptMethodNames = 256;

/** Length and name, as REQUEST and NOTICE have it. @throws TypeError for a name that doesn't fit. */
export function encodeMethod(method: string): Buffer {
  const known = methodNames.get(method);
  if (known !== undefined) return known;
  const name = Buffer.from(method, 'latin1');
  if (name.length === 0 || name.length > maxMethodBytes) {
    throw new TypeError(`method: must have 1 to ${maxMethodBytes} characters, but has ${name.length}`);
  }
  const encoded = Buffer.concat([Buffer.from([name.length]), name]);
  if (methodNames.size < keptMethodNames) methodNames.set(method, encoded);
  return encoded;
}

/** One call, from its place in the line to the last byte of the response. */
class ClientCall implements Due {
  id = 0;
  dueMs: number;
  readonly #lane: ClientLane;
  readonly #outgoing: OutgoingCall;
  #settle: Settle | undefined;
  #sender: BodySender | undefined;
  #reader: BodyReader | undefined;
  #over = false;
  readonly #onAbort: (() => void) | undefined;

  constructor(lane: ClientLane, outgoing: OutgoingCall, settle: Settle) {
    this.#lane = lane;
    this.#outgoing = outgoing;
    this.#settle = settle;
    this.dueMs = performance.now() + outgoing.options.deadlineMs;
    lane.deadlines.add(this);
    const signal = outgoing.options.signal;
    if (signal !== undefined) {
      this.#onAbort = () => this.#giveUp(cancelled(signal));
      signal.addEventListener('abort', this.#onAbort, { once: true });
    }
  }

  start(id: number): void {
    this.id = id;
    const { method, request, options } = this.#outgoing;
    const deadline = Buffer.allocUnsafe(4);
    deadline.writeUInt32BE(Math.min(0xffff_ffff, Math.ceil(options.deadlineMs)), 0);
    this.#lane.lane.writer.frame(
      frameType.request,
      { id, flags: request.body === undefined ? flagEnd : 0 },
      deadline,
      encodeMethod(method),
      request.header ?? emptyHeader,
    );
    if (request.body === undefined) return;
    this.#sender = new BodySender({
      id,
      writer: this.#lane.lane.writer,
      onProgress: () => this.#progress(),
      onDone: (error) => {
        this.#sender = undefined;
        if (error !== undefined) {
          this.#giveUp(
            new TransportError('cancelled', `the request's body failed: ${messageOf(error.cause)}`, error),
          );
        }
      },
    });
    this.#sender.start(request.body);
  }

  onResponse(header: Buffer, end: boolean): void {
    const settle = this.#settle;
    if (settle === undefined) throw new TransportError('protocol', 'a second response');
    this.#settle = undefined;
    this.#progress();
    if (end) {
      this.#finish();
      settle.resolve({ header, body: emptyBody });
      return;
    }
    const lane = this.#lane;
    const reader = new BodyReader({
      windowBytes: lane.windowBytes,
      budget: lane.budget,
      grant: (bytes) => lane.lane.writer.credit(this.id, bytes),
      onProgress: () => this.#progress(),
      onReturn: () => this.#giveUp(new TransportError('cancelled', 'the response was given up')),
      onFinished: () => lane.deadlines.delete(this),
    });
    this.#reader = reader;
    settle.resolve({ header, body: reader });
  }

  onData(part: Buffer, last: boolean): void {
    const reader = this.#reader;
    if (reader === undefined) throw new TransportError('protocol', 'a body before its response');
    if (!reader.push(part, last)) throw new TransportError('protocol', 'more body than was granted');
    if (last) this.#finish();
  }

  onCredit(bytes: number): void {
    this.#sender?.grant(bytes);
  }

  onStop(): void {
    this.#sender?.stop();
    this.#sender = undefined;
  }

  onError(error: TransportError): void {
    this.#end(error);
  }

  onLost(error: TransportError): void {
    this.#end(error);
  }

  onDue(): void {
    this.#giveUp(new TransportError('deadline', `nothing moved for ${this.#outgoing.options.deadlineMs} ms`));
  }

  #progress(): void {
    this.dueMs = performance.now() + this.#outgoing.options.deadlineMs;
  }

  #giveUp(error: TransportError): void {
    if (this.#over) {
      // All of the response is here and its reader has had its time.
      this.#reader?.fail(error);
      return;
    }
    if (this.id !== 0) this.#lane.lane.writer.frame(frameType.cancel, { id: this.id });
    this.#end(error);
  }

  #end(error: TransportError): void {
    if (this.#over) return;
    this.#reader?.fail(error);
    this.#finish();
    const settle = this.#settle;
    this.#settle = undefined;
    settle?.reject(error);
  }

  /** Nothing more goes to or comes from the other side; what has come may still be read. */
  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.#sender?.stop();
    this.#sender = undefined;
    if (this.#reader === undefined || this.#reader.finished) this.#lane.deadlines.delete(this);
    this.#lane.finished(this);
    if (this.#onAbort !== undefined) {
      this.#outgoing.options.signal?.removeEventListener('abort', this.#onAbort);
    }
  }
}

interface Settle {
  resolve(response: CallResponse): void;
  reject(error: TransportError): void;
}

export function cancelled(signal: AbortSignal): TransportError {
  return new TransportError('cancelled', 'the call was cancelled', { cause: signal.reason });
}

/** @throws TypeError for what can't be sent. */
export function checkCall(outgoing: OutgoingCall): void {
  encodeMethod(outgoing.method);
  const header = outgoing.request.header?.length ?? 0;
  if (header > maxHeaderBytes) {
    throw new TypeError(`header: at most ${maxHeaderBytes} bytes, but has ${header}`);
  }
  const { deadlineMs } = outgoing.options;
  if (!(deadlineMs > 0)) throw new TypeError(`deadlineMs: must be above 0, but is ${deadlineMs}`);
}

/** A body of no bytes, for any number of readers. */
export const emptyBody: AsyncIterable<Uint8Array> = {
  [Symbol.asyncIterator]: () => ({ next: () => Promise.resolve({ done: true, value: undefined }) }),
};
