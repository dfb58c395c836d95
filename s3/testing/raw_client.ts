import { once } from 'node:events';
import { connect, type TLSSocket } from 'node:tls';
import { signedHeaders, type TestRequest } from './harness.ts';

/** The head of a signed HTTP/1.1 request, ready to be written to a socket. */
export function rawHead(request: TestRequest): string {
  const { method = 'GET', target } = request;
  const lines = Object.entries(signedHeaders(request)).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${target} HTTP/1.1\r\n${lines.join('')}\r\n`;
}

/** One TLS connection on which every byte is in the test's hands. */
export class RawClient {
  readonly socket: TLSSocket;
  received = '';
  closed = false;
  #changed = Promise.withResolvers<undefined>();

  private constructor(socket: TLSSocket) {
    this.socket = socket;
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => {
      this.received += text;
      this.#change();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.closed = true;
      this.#change();
    });
  }

  static async open(port: number): Promise<RawClient> {
    const socket = connect({ port, host: '127.0.0.1', servername: 'localhost', rejectUnauthorized: false });
    await once(socket, 'secureConnect');
    return new RawClient(socket);
  }

  #change(): void {
    this.#changed.resolve(undefined);
    this.#changed = Promise.withResolvers();
  }

  send(text: string | Uint8Array): void {
    this.socket.write(text);
  }

  /** Waits until what was received fits, and takes it. */
  async take(pattern: RegExp): Promise<string> {
    for (;;) {
      const match = pattern.exec(this.received);
      if (match !== null) {
        this.received = this.received.slice(match.index + match[0].length);
        return match[0];
      }
      if (this.closed) throw new Error(`Closed before ${String(pattern)}; received: ${this.received}`);
      await this.#changed.promise;
    }
  }

  async untilClosed(): Promise<string> {
    while (!this.closed) await this.#changed.promise;
    return this.received;
  }

  destroy(): void {
    this.socket.destroy();
  }
}
