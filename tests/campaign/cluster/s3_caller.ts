import { Agent, request } from 'node:https';
import aws4 from 'aws4';

export interface S3Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

interface S3Call {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE';
  /** With the query. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  readonly timeoutMs?: number;
}

interface CallerOptions {
  readonly host: string;
  readonly port: number;
  readonly ca: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** One gateway, by plain signed requests: the campaign must know exactly what was sent and what came back. */
export class S3Caller {
  readonly #options: CallerOptions;
  readonly #agent: Agent;

  constructor(options: CallerOptions) {
    this.#options = options;
    this.#agent = new Agent({ ca: options.ca, keepAlive: true, maxSockets: 32, timeout: 60_000 });
  }

  /** @throws when no whole answer came: then nobody knows what the request did */
  async call(call: S3Call): Promise<S3Answer> {
    const { host, port, region, accessKeyId, secretAccessKey } = this.#options;
    const { method, path, body, timeoutMs = 30_000 } = call;
    const signed = aws4.sign(
      {
        host: `${host}:${port}`,
        path,
        method,
        service: 's3',
        region,
        headers: {
          ...call.headers,
          'x-amz-content-sha256': 'UNSIGNED-PAYLOAD',
          'content-length': String(body?.byteLength ?? 0),
        },
      },
      { accessKeyId, secretAccessKey },
    );
    return new Promise((resolve, reject) => {
      const outgoing = request(
        { host, port, method, path, headers: signed.headers as Record<string, string>, agent: this.#agent },
        (response) => {
          const parts: Buffer[] = [];
          response.on('data', (part: Buffer) => parts.push(part));
          response.on('end', () => {
            const whole = Buffer.concat(parts);
            const announced = Number(response.headers['content-length'] ?? whole.byteLength);
            if (method !== 'HEAD' && (!response.complete || announced !== whole.byteLength)) {
              reject(new Error('the answer was cut off'));
              return;
            }
            resolve({ status: response.statusCode ?? 0, headers: response.headers, body: whole });
          });
          response.on('error', reject);
          response.on('aborted', () => reject(new Error('the answer was cut off')));
        },
      );
      const timer = setTimeout(() => outgoing.destroy(new Error(`no answer in ${timeoutMs} ms`)), timeoutMs);
      outgoing.on('close', () => clearTimeout(timer));
      outgoing.on('error', reject);
      outgoing.end(body);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}
