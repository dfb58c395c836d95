import { Buffer } from 'node:buffer';
import { randomBytes } from 'node:crypto';
import type { ByteStream, ClientTls, Connection, Driver } from '../driver.ts';
import { FrameParser, type LaneKind, frameHeaderBytes, frameType, writeFrameHeader } from '../frame.ts';
import { encodeHello, nonceBytes, prove } from '../handshake.ts';
import { certificateName } from '../peer_name.ts';

interface RawTarget {
  readonly driver: Driver;
  readonly host: string;
  readonly port: number;
  readonly clusterId: string;
  readonly peer: string;
  readonly tls?: ClientTls;
}

interface RawFrame {
  readonly type: number;
  readonly flags: number;
  readonly id: number;
  readonly payload: Buffer;
}

/** One frame's bytes. */
export function rawFrame(
  type: number,
  payload: Uint8Array = Buffer.alloc(0),
  options: { readonly flags?: number; readonly id?: number } = {},
): Buffer {
  const header = Buffer.alloc(frameHeaderBytes);
  writeFrameHeader(header, 0, {
    type,
    flags: options.flags ?? 0,
    id: options.id ?? 0,
    length: payload.length,
  });
  return Buffer.concat([header, payload]);
}

/** A client that writes whatever a test wants, right or wrong. */
export class RawLane {
  readonly frames: RawFrame[] = [];
  closed = false;
  readonly #connection: Connection;
  readonly #stream: ByteStream;
  readonly #parser: FrameParser;
  #kind: LaneKind = 'small';
  #changed = Promise.withResolvers<undefined>();

  private constructor(connection: Connection, stream: ByteStream) {
    this.#connection = connection;
    this.#stream = stream;
    this.#parser = new FrameParser({
      onFrame: (type, flags, id, payload) => {
        if (type === frameType.accept) this.#parser.authenticated(this.#kind);
        this.frames.push({ type, flags, id, payload: Buffer.from(payload) });
        this.#change();
      },
      onData: (id, part) => {
        this.frames.push({ type: frameType.data, flags: 0, id, payload: Buffer.from(part) });
        this.#change();
      },
    });
    stream.start({
      onData: (chunk) => this.#parser.push(chunk),
      onDrain: () => undefined,
      onClose: () => {
        this.closed = true;
        this.#change();
      },
    });
  }

  static async connect(target: RawTarget): Promise<RawLane> {
    const connection = await target.driver.connect({
      host: target.host,
      port: target.port,
      servername: certificateName(target.peer, target.clusterId),
      timeoutMs: 5000,
      ...(target.tls === undefined ? {} : { tls: target.tls }),
    });
    return new RawLane(connection, await connection.openStream());
  }

  write(bytes: Uint8Array): void {
    this.#stream.write(bytes);
  }

  /** Goes through the opening; returns the bytes it sent. */
  async authenticate(options: {
    readonly from: string;
    readonly to: string;
    readonly clusterId: string;
    readonly secret: Uint8Array;
    readonly kind: LaneKind;
  }): Promise<{ readonly hello: Buffer; readonly proof: Buffer }> {
    const hello = encodeHello({ ...options, nonce: randomBytes(nonceBytes) });
    this.write(rawFrame(frameType.hello, hello));
    const challenge = (await this.frame(frameType.challenge)).payload;
    const proof = prove('client', { secret: options.secret, hello, challenge });
    this.#kind = options.kind;
    this.write(rawFrame(frameType.proof, proof));
    return { hello, proof };
  }

  /** Waits for the first frame of a type. @throws when the lane is closed without one. */
  async frame(type: number): Promise<RawFrame> {
    for (;;) {
      const found = this.frames.find((frame) => frame.type === type);
      if (found !== undefined) return found;
      if (this.closed) throw new Error(`closed without a frame of type ${type}`);
      await this.#changed.promise;
    }
  }

  async untilClosed(): Promise<void> {
    while (!this.closed) await this.#changed.promise;
  }

  async close(): Promise<void> {
    this.#stream.destroy();
    await this.#connection.close();
  }

  #change(): void {
    const changed = this.#changed;
    this.#changed = Promise.withResolvers<undefined>();
    changed.resolve(undefined);
  }
}
