/**
 * Frames on a lane. All numbers are big-endian.
 *
 * ```
 *  0        1        2                 8              12
 *  +--------+--------+-----------------+--------------+---------------
 *  | type   | flags  | request id (48) | length (32)  | payload
 *  +--------+--------+-----------------+--------------+---------------
 *
 *  handshake (see handshake.ts), request id 0
 *  01 HELLO      client  magic "s3dL", version (16), lane (8), client nonce (32 bytes),
 *                        cluster id, own id, other's id, each as length (8) and ASCII
 *  02 CHALLENGE  server  server nonce (32 bytes)
 *  03 PROOF      client  HMAC (32 bytes)
 *  04 ACCEPT     server  HMAC (32 bytes)
 *
 *  requests; ids are given by the client, from 1 upwards, never twice on a lane
 *  10 REQUEST    client  deadline in ms (32), length of the method (8), method, header. END: no body follows
 *  11 RESPONSE   server  header. END: no body follows. The end of the response is the end of the request too
 *  12 DATA       both    a piece of the body. END: the last one (it may be empty)
 *  13 CREDIT     both    number of further body bytes the other side may send (32)
 *  14 CANCEL     client  the request is given up, whatever state it is in
 *                server  no more of the request's body is wanted (a half-close); the response goes on
 *  15 ERROR      server  length of the code (8), code, message; ends the request. REMOTE: the handler's own code
 *
 *  of the lane, request id 0
 *  20 NOTICE     both    length of the method (8), method, payload
 *  21 PING       both    8 bytes
 *  22 PONG       both    the same 8 bytes
 *  23 FATAL      both    as ERROR; the lane ends after it
 * ```
 */
import { Buffer } from 'node:buffer';
import { TransportError } from './errors.ts';
import {
  maxDataBytes,
  maxErrorBytes,
  maxHandshakeBytes,
  maxHeaderBytes,
  maxMethodBytes,
  maxNoticeBytes,
  maxSmallDataBytes,
} from './limits.ts';

export const frameHeaderBytes = 12;
export const protocolVersion = 1;

export const frameType = {
  hello: 0x01,
  challenge: 0x02,
  proof: 0x03,
  accept: 0x04,
  request: 0x10,
  response: 0x11,
  data: 0x12,
  credit: 0x13,
  cancel: 0x14,
  error: 0x15,
  notice: 0x20,
  ping: 0x21,
  pong: 0x22,
  fatal: 0x23,
} as const;

/** The last frame of this direction of the request. */
export const flagEnd = 0x01;
/** An ERROR whose code is the handler's, not the transport's. */
export const flagRemote = 0x02;

/** What a lane carries. Small requests never wait behind bulk ones; Raft's messages wait behind neither. */
export type LaneKind = 'small' | 'bulk' | 'raft';

/** On the wire; also the order in which a client opens them, which is the order of their priority in HTTP/3. */
export const laneKinds: readonly LaneKind[] = ['small', 'raft', 'bulk'];

/** Writes the twelve bytes at `offset`. */
export function writeFrameHeader(
  into: Buffer,
  offset: number,
  frame: { readonly type: number; readonly flags: number; readonly id: number; readonly length: number },
): void {
  into[offset] = frame.type;
  into[offset + 1] = frame.flags;
  const high = Math.floor(frame.id / 0x1_0000_0000);
  into[offset + 2] = high >>> 8;
  into[offset + 3] = high & 0xff;
  into.writeUInt32BE(frame.id >>> 0, offset + 4);
  into.writeUInt32BE(frame.length, offset + 8);
}

/** The largest payload a frame of this type may have on such a lane; -1: there is no such frame. */
function maxLength(type: number, kind: LaneKind | undefined): number {
  if (kind === undefined) {
    if (type === frameType.fatal) return maxErrorBytes;
    return type >= frameType.hello && type <= frameType.accept ? maxHandshakeBytes : -1;
  }
  switch (type) {
    case frameType.request:
      return maxHeaderBytes + maxMethodBytes + 5;
    case frameType.response:
      return maxHeaderBytes;
    case frameType.data:
      return kind === 'bulk' ? maxDataBytes : maxSmallDataBytes;
    case frameType.credit:
      return 4;
    case frameType.cancel:
      return 0;
    case frameType.error:
    case frameType.fatal:
      return maxErrorBytes;
    case frameType.notice:
      return maxNoticeBytes + maxMethodBytes + 1;
    case frameType.ping:
    case frameType.pong:
      return 8;
    default:
      return -1;
  }
}

interface FrameEvents {
  /** A whole frame of any type but DATA. `payload` may be a view of a larger buffer. */
  onFrame(type: number, flags: number, id: number, payload: Buffer): void;
  /** A piece of a DATA frame, as soon as it is there; `last`: the body ends with it. */
  onData(id: number, part: Buffer, last: boolean): void;
}

const empty = Buffer.alloc(0);

/**
 * Cuts a byte stream into frames. It holds at most one frame that isn't DATA, and checks the type and length before
 * it holds anything, so that a lie about a length costs nothing.
 *
 * `push` throws TransportError `protocol` at the first byte that can't be right; the parser is then of no further use.
 */
export class FrameParser {
  readonly #events: FrameEvents;
  #kind: LaneKind | undefined;
  #stopped = false;
  /** Bytes of a frame's header that came so far. */
  readonly #head = Buffer.alloc(frameHeaderBytes);
  #headBytes = 0;
  /** Of the frame at work; `#left` counts its missing payload bytes, -1: between frames. */
  #type = 0;
  #flags = 0;
  #id = 0;
  #left = -1;
  /** What has come of a frame that is split over chunks; it grows by doubling, since lengths may lie. */
  #assembly: Buffer = empty;
  #assembled = 0;

  constructor(events: FrameEvents) {
    this.#events = events;
  }

  /** From the next frame on those of such a lane are allowed and those of the handshake aren't. */
  authenticated(kind: LaneKind): void {
    this.#kind = kind;
  }

  /** No event comes any more, not even for what was pushed already. */
  stop(): void {
    this.#stopped = true;
    this.#assembly = empty;
  }

  push(chunk: Buffer): void {
    let offset = 0;
    while (!this.#stopped) {
      if (this.#left < 0) {
        const have = chunk.length - offset;
        if (this.#headBytes === 0 && have >= frameHeaderBytes) {
          this.#begin(chunk, offset);
          offset += frameHeaderBytes;
        } else {
          if (have === 0) return;
          const take = Math.min(frameHeaderBytes - this.#headBytes, have);
          chunk.copy(this.#head, this.#headBytes, offset, offset + take);
          this.#headBytes += take;
          offset += take;
          if (this.#headBytes < frameHeaderBytes) return;
          this.#headBytes = 0;
          this.#begin(this.#head, 0);
        }
      }
      if (this.#left > 0 && offset === chunk.length) return;
      offset = this.#payload(chunk, offset);
    }
  }

  #begin(from: Buffer, offset: number): void {
    const type = from[offset] ?? 0;
    const length = from.readUInt32BE(offset + 8);
    const limit = maxLength(type, this.#kind);
    if (limit < 0) throw new TransportError('protocol', `frame of type ${type} isn't allowed here`);
    if (length > limit) {
      throw new TransportError('protocol', `frame of type ${type} with ${length} bytes, at most ${limit}`);
    }
    this.#type = type;
    this.#flags = from[offset + 1] ?? 0;
    this.#id = from.readUInt16BE(offset + 2) * 0x1_0000_0000 + from.readUInt32BE(offset + 4);
    this.#left = length;
  }

  #payload(chunk: Buffer, offset: number): number {
    const end = Math.min(offset + this.#left, chunk.length);
    const taken = end - offset;
    this.#left -= taken;
    if (this.#type === frameType.data) {
      const done = this.#left === 0;
      const part = taken === 0 ? empty : chunk.subarray(offset, end);
      const last = done && (this.#flags & flagEnd) !== 0;
      if (done) this.#left = -1;
      this.#events.onData(this.#id, part, last);
      return end;
    }
    let payload = taken === 0 ? empty : chunk.subarray(offset, end);
    if (this.#left > 0) {
      this.#assemble(payload);
      return end;
    }
    if (this.#assembled > 0) {
      this.#assemble(payload);
      payload = this.#assembly.subarray(0, this.#assembled);
      this.#assembly = empty;
      this.#assembled = 0;
    }
    this.#left = -1;
    this.#events.onFrame(this.#type, this.#flags, this.#id, payload);
    return end;
  }

  #assemble(part: Buffer): void {
    const need = this.#assembled + part.length;
    if (need > this.#assembly.length) {
      const whole = need + this.#left;
      const grown = Buffer.allocUnsafeSlow(Math.min(whole, Math.max(2 * need, 4096)));
      this.#assembly.copy(grown, 0, 0, this.#assembled);
      this.#assembly = grown;
    }
    part.copy(this.#assembly, this.#assembled);
    this.#assembled = need;
  }
}

/** REQUEST's payload. */
export interface RequestFrame {
  readonly deadlineMs: number;
  readonly method: string;
  readonly header: Buffer;
}

export function decodeRequest(payload: Buffer): RequestFrame {
  if (payload.length < 5) throw new TransportError('protocol', 'REQUEST is too short');
  const methodBytes = payload[4] ?? 0;
  if (payload.length < 5 + methodBytes) throw new TransportError('protocol', 'REQUEST is too short');
  const header = payload.subarray(5 + methodBytes);
  if (header.length > maxHeaderBytes) throw new TransportError('protocol', 'REQUEST with too long a header');
  return {
    deadlineMs: payload.readUInt32BE(0),
    method: payload.toString('latin1', 5, 5 + methodBytes),
    header,
  };
}

/** A name and the rest: NOTICE (method, payload), ERROR and FATAL (code, message). */
export function decodeNamed(payload: Buffer): { readonly name: string; readonly rest: Buffer } {
  const nameBytes = payload[0];
  if (nameBytes === undefined || payload.length < 1 + nameBytes) {
    throw new TransportError('protocol', 'a frame is too short for its name');
  }
  return { name: payload.toString('latin1', 1, 1 + nameBytes), rest: payload.subarray(1 + nameBytes) };
}

/** The payload of ERROR and FATAL, cut to what a frame may hold. */
export function encodeError(code: string, message: string): Buffer {
  const name = Buffer.from(code, 'latin1').subarray(0, maxMethodBytes);
  const text = Buffer.from(message, 'utf8').subarray(0, maxErrorBytes - maxMethodBytes - 1);
  return Buffer.concat([Buffer.from([name.length]), name, text]);
}
