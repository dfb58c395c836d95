import { Buffer } from 'node:buffer';
import { randomBytes } from 'node:crypto';
import type { ByteStream } from './driver.ts';
import { TransportError, messageOf, type TransportErrorCode } from './errors.ts';
import { FrameParser, type LaneKind, decodeNamed, encodeError, frameType } from './frame.ts';
import { type Hello, decodeHello, encodeHello, nonceBytes, proofsEqual, prove } from './handshake.ts';
import { LaneWriter } from './lane_writer.ts';
import { handshakeMs, maxDataBytes, maxSmallDataBytes } from './limits.ts';
import type { PeerId } from './transport.ts';

/** What a lane does once it is authenticated: a client's or a server's half of the requests. */
export interface LaneRole {
  /** REQUEST to NOTICE; the lane answers the others itself. Throwing TransportError `protocol` ends the lane. */
  onFrame(type: number, flags: number, id: number, payload: Buffer): void;
  onData(id: number, part: Buffer, last: boolean): void;
  /** The lane is gone. Nothing comes after it. */
  onClosed(error: TransportError): void;
}

/** Who one is and what one knows. */
export interface LaneIdentity {
  readonly self: PeerId;
  readonly clusterId: string;
  readonly secret: Uint8Array;
}

interface OpenLaneOptions extends LaneIdentity {
  readonly peer: PeerId;
  readonly kind: LaneKind;
}

function tooEarly(): never {
  throw new TransportError('protocol', 'a frame before the lane is open');
}

const notOpen: LaneRole = { onFrame: tooEarly, onData: tooEarly, onClosed: () => undefined };

/** One long-lived stream, authenticated both ways, that carries frames. */
export class Lane {
  readonly writer: LaneWriter;
  readonly #stream: ByteStream;
  readonly #parser: FrameParser;
  #role: LaneRole = notOpen;
  #handshake: Handshake | undefined;
  #hello: Hello | undefined;
  #closed: TransportError | undefined;
  readonly #roundTrips = new Map<bigint, { resolve(): void; reject(error: TransportError): void }>();
  #lastRoundTrip = 0n;
  /** When the other side was last heard, by `performance.now()`. */
  #heardMs = performance.now();

  private constructor(stream: ByteStream, handshake: Handshake) {
    this.#stream = stream;
    this.#handshake = handshake;
    this.writer = new LaneWriter({
      stream,
      onOverflow: () => this.destroy(new TransportError('overloaded', "the other side doesn't read")),
    });
    this.#parser = new FrameParser({
      onFrame: (type, flags, id, payload) => this.#onFrame(type, flags, id, payload),
      onData: (id, part, last) => this.#role.onData(id, part, last),
    });
    stream.start({
      onData: (chunk) => this.#onChunk(chunk),
      onDrain: () => this.writer.onDrain(),
      onClose: (error) =>
        this.#onClosed(
          new TransportError('unreachable', error === undefined ? 'the lane was closed' : error.message, {
            cause: error,
          }),
        ),
    });
  }

  /**
   * The client's side of an opening.
   * @throws TransportError `refused`, `protocol`, `unreachable` or `deadline`; the stream is then ended.
   */
  static async open(stream: ByteStream, options: OpenLaneOptions): Promise<Lane> {
    const handshake = new Handshake();
    const lane = new Lane(stream, handshake);
    const hello = encodeHello({
      kind: options.kind,
      nonce: randomBytes(nonceBytes),
      clusterId: options.clusterId,
      from: options.self,
      to: options.peer,
    });
    lane.writer.frame(frameType.hello, {}, hello);
    return lane.#guard(async () => {
      const challenge = await handshake.next(frameType.challenge);
      if (challenge.length !== nonceBytes) throw new TransportError('protocol', 'a broken CHALLENGE');
      const opening = { secret: options.secret, hello, challenge };
      lane.writer.frame(frameType.proof, {}, prove('client', opening));
      handshake.onLast(() => lane.#authenticated(options.kind));
      const accept = await handshake.next(frameType.accept);
      if (!proofsEqual(accept, prove('server', opening))) {
        throw new TransportError('refused', `${options.peer} doesn't know this cluster's secret`);
      }
      lane.#hello = decodeHello(hello);
    });
  }

  /** The server's side. The lane's `hello` says who it is. @throws as `open`. */
  static async accept(stream: ByteStream, identity: LaneIdentity): Promise<Lane> {
    const handshake = new Handshake();
    const lane = new Lane(stream, handshake);
    return lane.#guard(async () => {
      const payload = Buffer.from(await handshake.next(frameType.hello));
      const hello = decodeHello(payload);
      if (hello.clusterId !== identity.clusterId) {
        throw new TransportError('refused', `this is cluster ${identity.clusterId}, not ${hello.clusterId}`);
      }
      if (hello.to !== identity.self) {
        throw new TransportError('refused', `this is ${identity.self}, not ${hello.to}`);
      }
      const challenge = randomBytes(nonceBytes);
      lane.writer.frame(frameType.challenge, {}, challenge);
      const opening = { secret: identity.secret, hello: payload, challenge };
      const expected = prove('client', opening);
      handshake.onLast((proof) => {
        if (!proofsEqual(proof, expected)) {
          throw new TransportError('refused', 'that is no proof by the secret of this cluster');
        }
        lane.#authenticated(hello.kind);
        lane.writer.frame(frameType.accept, {}, prove('server', opening));
      });
      await handshake.next(frameType.proof);
      lane.#hello = hello;
    });
  }

  /** Who opened it for what. */
  get hello(): Hello {
    if (this.#hello === undefined) throw new Error('the lane is not open');
    return this.#hello;
  }

  get kind(): LaneKind {
    return this.hello.kind;
  }

  get heardMs(): number {
    return this.#heardMs;
  }

  get closed(): boolean {
    return this.#closed !== undefined;
  }

  /** From now on frames go to the role. Called in the turn in which `open` or `accept` resolved. */
  attach(role: LaneRole): void {
    this.#role = role;
    const error = this.#closed;
    if (error !== undefined) queueMicrotask(() => role.onClosed(error));
  }

  ping(): void {
    // One that waits already says as much as two.
    if (this.writer.queuedBytes === 0) this.writer.frame(frameType.ping, {}, Buffer.alloc(8));
  }

  /** Resolves once the other side has taken all that was written before. @throws TransportError when the lane ends */
  roundTrip(): Promise<undefined> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    const token = Buffer.alloc(8);
    token.writeBigUInt64BE(++this.#lastRoundTrip);
    const { promise, resolve, reject } = Promise.withResolvers<undefined>();
    this.#roundTrips.set(this.#lastRoundTrip, { resolve: () => resolve(undefined), reject });
    this.writer.frame(frameType.ping, {}, token);
    return promise;
  }

  /** Tells the other side why, then ends the lane. */
  fail(error: TransportError): void {
    if (this.#closed !== undefined) return;
    this.#parser.stop();
    this.writer.frame(frameType.fatal, {}, encodeError(error.code, error.message));
    this.writer.end();
    this.#onClosed(error);
  }

  /** Ends it at once. */
  destroy(error: TransportError): void {
    if (this.#closed !== undefined) return;
    this.#parser.stop();
    this.writer.close();
    this.#stream.destroy();
    this.#onClosed(error);
  }

  async #guard(steps: () => Promise<void>): Promise<Lane> {
    const timer = setTimeout(
      () => this.#handshake?.fail(new TransportError('deadline', `no handshake in ${handshakeMs} ms`)),
      handshakeMs,
    );
    try {
      await steps();
      return this;
    } catch (error) {
      const failure =
        error instanceof TransportError
          ? error
          : new TransportError('protocol', messageOf(error), { cause: error });
      this.fail(failure);
      throw failure;
    } finally {
      clearTimeout(timer);
      this.#handshake = undefined;
    }
  }

  #authenticated(kind: LaneKind): void {
    this.#parser.authenticated(kind);
    this.writer.maxDataBytes = kind === 'bulk' ? maxDataBytes : maxSmallDataBytes;
  }

  #onChunk(chunk: Buffer): void {
    if (this.#closed !== undefined) return;
    this.#heardMs = performance.now();
    try {
      this.#parser.push(chunk);
    } catch (error) {
      if (!(error instanceof TransportError)) throw error;
      this.#handshake?.fail(error);
      this.fail(error);
    }
  }

  #onFrame(type: number, flags: number, id: number, payload: Buffer): void {
    switch (type) {
      case frameType.ping:
        this.writer.frame(frameType.pong, {}, payload);
        return;
      case frameType.pong: {
        const token = payload.length === 8 ? payload.readBigUInt64BE() : 0n;
        this.#roundTrips.get(token)?.resolve();
        this.#roundTrips.delete(token);
        return;
      }
      case frameType.fatal: {
        const { name, rest } = decodeNamed(payload);
        const error = new TransportError(fatalCode(name), rest.toString('utf8'));
        this.#handshake?.fail(error);
        this.destroy(error);
        return;
      }
      default:
        if (this.#handshake === undefined) this.#role.onFrame(type, flags, id, payload);
        else this.#handshake.frame(type, payload);
    }
  }

  #onClosed(error: TransportError): void {
    if (this.#closed !== undefined) return;
    this.#closed = error;
    this.#parser.stop();
    this.writer.close();
    this.#handshake?.fail(error);
    for (const waiter of this.#roundTrips.values()) waiter.reject(error);
    this.#roundTrips.clear();
    this.#role.onClosed(error);
  }
}

/** Codes that end a lane; what else the other side may say counts as a breach of the protocol. */
function fatalCode(name: string): TransportErrorCode {
  return name === 'refused' || name === 'overloaded' || name === 'deadline' || name === 'unreachable'
    ? name
    : 'protocol';
}

/** The frames of an opening, one after the other; any other frame ends it. */
class Handshake {
  #expected = 0;
  #waiting: { resolve(payload: Buffer): void; reject(error: TransportError): void } | undefined;
  #early: { readonly type: number; readonly payload: Buffer } | undefined;
  #error: TransportError | undefined;
  #onLast: ((payload: Buffer) => void) | undefined;

  next(type: number): Promise<Buffer> {
    if (this.#error !== undefined) return Promise.reject(this.#error);
    const early = this.#early;
    this.#early = undefined;
    this.#expected = type;
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      if (early !== undefined) this.frame(early.type, early.payload);
    });
  }

  /** Run as soon as the last frame is there, before the bytes behind it are looked at. */
  onLast(check: (payload: Buffer) => void): void {
    this.#onLast = check;
  }

  frame(type: number, payload: Buffer): void {
    const waiting = this.#waiting;
    if (waiting === undefined) {
      if (this.#early !== undefined)
        throw new TransportError('protocol', 'frames out of turn in the handshake');
      this.#early = { type, payload };
      return;
    }
    if (type !== this.#expected) {
      throw new TransportError('protocol', `frame of type ${type} where ${this.#expected} was due`);
    }
    this.#onLast?.(payload);
    this.#waiting = undefined;
    waiting.resolve(payload);
  }

  fail(error: TransportError): void {
    this.#error ??= error;
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }
}
