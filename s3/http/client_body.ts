import type { IncomingMessage, ServerResponse } from 'node:http';
import { S3Error } from '../errors.ts';
import { Pace, type PaceLimits } from './pace.ts';

/** A request's body as it comes from the client, still in its transfer form. May be read once. */
export interface ClientBody extends AsyncIterable<Uint8Array> {
  /** Whether anything has been asked of the client yet. */
  readonly started: boolean;
  /** Bytes read so far. */
  readonly receivedBytes: number;
}

/**
 * The body of a node:http request. The first read sends `100 Continue` where the client waits for it, so a request that
 * is refused before its body is needed never has it sent. A client that stalls gets RequestTimeout, one that vanishes
 * IncompleteBody. Leaving the iteration early doesn't destroy the connection: the refusal must still reach the client.
 */
export class IncomingClientBody implements ClientBody {
  readonly #incoming: IncomingMessage;
  readonly #outgoing: ServerResponse;
  readonly #expectsContinue: boolean;
  readonly #pace: Pace;
  #started = false;
  #receivedBytes = 0;
  #wake: (() => void) | undefined;

  constructor(
    exchange: { readonly incoming: IncomingMessage; readonly outgoing: ServerResponse },
    options: { readonly expectsContinue: boolean; readonly pace: PaceLimits },
  ) {
    this.#incoming = exchange.incoming;
    this.#outgoing = exchange.outgoing;
    this.#expectsContinue = options.expectsContinue;
    this.#pace = new Pace(options.pace);
  }

  get started(): boolean {
    return this.#started;
  }

  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    if (this.#started) throw new Error('A request body can be read only once.');
    this.#start();
    return {
      next: () => this.#next(),
      return: () => Promise.resolve({ done: true, value: undefined }),
    };
  }

  #start(): void {
    this.#started = true;
    const wake = (): void => {
      this.#wake?.();
    };
    for (const event of ['readable', 'end', 'error', 'close']) this.#incoming.on(event, wake);
    if (this.#expectsContinue && !this.#outgoing.headersSent) this.#outgoing.writeContinue();
  }

  async #next(): Promise<IteratorResult<Uint8Array>> {
    const incoming = this.#incoming;
    for (;;) {
      const chunk = incoming.read() as Buffer | null;
      if (chunk !== null) {
        this.#receivedBytes += chunk.length;
        this.#pace.progress(chunk.length);
        return { done: false, value: chunk };
      }
      if (incoming.readableEnded || (incoming.complete && incoming.readableLength === 0)) {
        return { done: true, value: undefined };
      }
      if (incoming.destroyed) {
        throw new S3Error('IncompleteBody', 'The connection was closed before the whole body had come.');
      }
      await this.#waitForClient();
    }
  }

  async #waitForClient(): Promise<void> {
    const allowanceMs = this.#pace.allowanceMs;
    if (allowanceMs === 0) throw new S3Error('RequestTimeout');
    const beganMs = performance.now();
    const timedOut = await new Promise<boolean>((resolve) => {
      const timer = setTimeout(() => {
        this.#wake = undefined;
        resolve(true);
      }, allowanceMs);
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve(false);
      };
    });
    this.#pace.waited(performance.now() - beganMs);
    if (timedOut) throw new S3Error('RequestTimeout');
  }
}

/** The body of a fetch request, for use in process. */
export class WebClientBody implements ClientBody {
  readonly #request: Request;
  #started = false;
  #receivedBytes = 0;

  constructor(request: Request) {
    this.#request = request;
  }

  get started(): boolean {
    return this.#started;
  }

  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    this.#started = true;
    if (this.#request.body === null) return;
    for await (const chunk of this.#request.body as AsyncIterable<Uint8Array>) {
      this.#receivedBytes += chunk.length;
      yield chunk;
    }
  }
}
