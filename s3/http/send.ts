import type { ServerResponse } from 'node:http';
import { type PaceLimits, PacedWait } from './pace.ts';
import type { Reply, ReplyStream } from './reply.ts';

/** The client gave up, or was given up for reading too slowly. Nobody is left to be told. */
export class ClientGoneError extends Error {
  override readonly name = 'ClientGoneError';
}

/**
 * Writes a reply to a node:http response and waits until the last byte is handed to the socket; returns the bytes of
 * body. The headers go out with the first chunk, so a stream that fails at once can still be answered with an error.
 * @throws whatever the stream throws (`headersSent` tells whether an answer can still be given) and ClientGoneError.
 */
export async function writeReply(
  outgoing: ServerResponse,
  reply: Reply,
  options: {
    readonly head: boolean;
    readonly pace: PaceLimits;
    /** False: everything is written, but the caller ends the response. */
    readonly end: boolean;
  },
): Promise<number> {
  const { body } = reply;
  if (body !== undefined && typeof body !== 'string') {
    return writeStream(outgoing, reply, { stream: body, pace: options.pace });
  }
  checkOpen(outgoing);
  const text = options.head ? undefined : body;
  const sizeBytes = text === undefined ? 0 : Buffer.byteLength(text);
  if (mustTellLength(reply, options.head)) reply.headers['content-length'] = String(sizeBytes);
  outgoing.writeHead(reply.status, reply.headers);
  if (options.end) outgoing.end(text);
  else if (text !== undefined) outgoing.write(text);
  else outgoing.flushHeaders();
  return sizeBytes;
}

/** Whether the length must be said: not where HTTP forbids it, nor where a HEAD's own headers say it. */
function mustTellLength(reply: Reply, head: boolean): boolean {
  return !head && reply.status !== 204 && reply.status !== 304;
}

async function writeStream(
  outgoing: ServerResponse,
  reply: Reply,
  options: { readonly stream: ReplyStream; readonly pace: PaceLimits },
): Promise<number> {
  const { sizeBytes } = options.stream;
  if (sizeBytes !== undefined) reply.headers['content-length'] = String(sizeBytes);
  const iterator = options.stream.stream[Symbol.asyncIterator]();
  const drain = new Drain(outgoing, options.pace);
  let sentBytes = 0;
  let finished = false;
  try {
    checkOpen(outgoing);
    let result = await iterator.next();
    // One chunk is read ahead of the one being written: a small object goes out in one piece with its headers, and a
    // big one is read while the socket drains.
    while (result.done !== true) {
      const chunk = result.value;
      const following = iterator.next();
      // Its failure is met where it is awaited; until then, or behind an error of this chunk, it is not unhandled.
      following.catch(() => undefined);
      if (sizeBytes !== undefined && sentBytes + chunk.length === sizeBytes) {
        await mustEnd(iterator, following);
        if (!outgoing.headersSent) outgoing.writeHead(reply.status, reply.headers);
        sentBytes += chunk.length;
        finished = true;
        outgoing.end(chunk);
        break;
      }
      if (!outgoing.headersSent) outgoing.writeHead(reply.status, reply.headers);
      sentBytes += chunk.length;
      if (sizeBytes !== undefined && sentBytes > sizeBytes) {
        throw new Error(`A body of ${sizeBytes} bytes turned out to be longer.`);
      }
      drain.progress(chunk.length);
      if (!outgoing.write(chunk)) await drain.wait();
      result = await following;
    }
    if (!finished) {
      if (sizeBytes !== undefined && sentBytes !== sizeBytes) {
        throw new Error(`A body of ${sizeBytes} bytes ended after ${sentBytes}.`);
      }
      finished = true;
      if (!outgoing.headersSent) outgoing.writeHead(reply.status, reply.headers);
      outgoing.end();
    }
    return sentBytes;
  } finally {
    drain.release();
    if (!finished) await iterator.return?.();
  }
}

function checkOpen(outgoing: ServerResponse): void {
  if (outgoing.destroyed) throw new ClientGoneError('The client closed the connection.');
}

/** Nothing may follow the promised bytes; what the stream still has to check, it checks before the last are sent. */
async function mustEnd(
  iterator: AsyncIterator<Uint8Array>,
  following: Promise<IteratorResult<Uint8Array>>,
): Promise<void> {
  for (let result = await following; result.done !== true; result = await iterator.next()) {
    if (result.value.length > 0) throw new Error('A body turned out to be longer than was promised.');
  }
}

/** Waits for a response's buffer to empty, but not for ever. */
class Drain {
  readonly #outgoing: ServerResponse;
  readonly #client: PacedWait;

  constructor(outgoing: ServerResponse, pace: PaceLimits) {
    this.#outgoing = outgoing;
    this.#client = new PacedWait(pace);
    outgoing.on('drain', this.#client.wake).on('close', this.#client.wake);
  }

  progress(bytes: number): void {
    this.#client.progress(bytes);
  }

  async wait(): Promise<void> {
    checkOpen(this.#outgoing);
    if (!(await this.#client.wait())) throw new ClientGoneError('The client reads too slowly.');
    checkOpen(this.#outgoing);
  }

  release(): void {
    this.#client.release();
    this.#outgoing.off('drain', this.#client.wake).off('close', this.#client.wake);
  }
}
