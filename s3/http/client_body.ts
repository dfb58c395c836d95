import type { IncomingMessage, ServerResponse } from 'node:http';
import { S3Error } from '../errors.ts';
import { type PaceLimits, PacedWait } from './pace.ts';

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
  readonly #client: PacedWait;
  #started = false;
  #receivedBytes = 0;

  constructor(
    exchange: { readonly incoming: IncomingMessage; readonly outgoing: ServerResponse },
    options: { readonly expectsContinue: boolean; readonly pace: PaceLimits },
  ) {
    this.#incoming = exchange.incoming;
    this.#outgoing = exchange.outgoing;
    this.#expectsContinue = options.expectsContinue;
    this.#client = new PacedWait(options.pace);
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
      return: () => {
        this.#stop();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }

  #start(): void {
    this.#started = true;
    for (const event of events) this.#incoming.on(event, this.#client.wake);
    if (this.#expectsContinue && !this.#outgoing.headersSent) this.#outgoing.writeContinue();
  }

  #stop(): void {
    this.#client.release();
    for (const event of events) if (event !== 'error') this.#incoming.off(event, this.#client.wake);
  }

  async #next(): Promise<IteratorResult<Uint8Array>> {
    const incoming = this.#incoming;
    for (;;) {
      const chunk = incoming.read() as Buffer | null;
      if (chunk !== null) {
        this.#receivedBytes += chunk.length;
        this.#client.progress(chunk.length);
        return { done: false, value: chunk };
      }
      if (incoming.readableEnded || (incoming.complete && incoming.readableLength === 0)) {
        this.#stop();
        return { done: true, value: undefined };
      }
      if (incoming.destroyed) {
        this.#stop();
        throw new S3Error('IncompleteBody', 'The connection was closed before the whole body had come.');
      }
      if (!(await this.#client.wait())) {
        this.#stop();
        throw new S3Error('RequestTimeout');
      }
    }
  }
}

/** An error of the request without a listener would end the process, so that one stays. */
const events = ['readable', 'end', 'error', 'close'] as const;

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
