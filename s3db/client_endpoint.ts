import aws4 from 'aws4';
import { createHash } from 'node:crypto';
import { Pool } from 'undici';
import { NotSentError } from './link/replica_link.ts';

export interface Endpoint {
  readonly host: string;
  readonly port: number;
  /** The name in the certificate, when it isn't `host`. */
  readonly servername?: string;
}

export interface EndpointOptions {
  readonly endpoint: Endpoint;
  /** PEM. Nothing else is trusted. */
  readonly ca: string | Buffer;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly connections: number;
  /** Of one answer. Default 64 MiB; -1: no limit, for answers that are read piece by piece. */
  readonly maxResponseBytes?: number;
}

export interface Call {
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** With the query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Buffer;
}

export interface Answer {
  readonly status: number;
  readonly body: Uint8Array;
  /** `host:port` of the leader, as the replica that answered knows it. */
  readonly leader: string | undefined;
}

const connectTimeoutMs = 1000;
const keepAliveTimeoutMs = 50_000;
const defaultResponseBytes = 64 * 1024 * 1024;
const emptyHash = createHash('sha256').digest('hex');
/** Codes of errors that come before the first byte of a request leaves. */
const notSentCodes = new Set([
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'UND_ERR_CONNECT_TIMEOUT',
  'CERT_HAS_EXPIRED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

/** One replica as a client sees it: kept-alive TLS connections and signed requests. */
export class ClientEndpoint {
  readonly name: string;
  readonly #options: EndpointOptions;
  readonly #pool: Pool;

  constructor(options: EndpointOptions) {
    const { host, port, servername } = options.endpoint;
    this.name = `${host}:${port}`;
    this.#options = options;
    this.#pool = new Pool(`https://${host.includes(':') ? `[${host}]` : host}:${port}`, {
      connections: options.connections,
      pipelining: 1,
      keepAliveTimeout: keepAliveTimeoutMs,
      keepAliveMaxTimeout: keepAliveTimeoutMs,
      // Deadlines come with each request.
      headersTimeout: 0,
      bodyTimeout: 0,
      maxResponseSize: options.maxResponseBytes ?? defaultResponseBytes,
      connect: {
        ca: options.ca,
        timeout: connectTimeoutMs,
        ...(servername === undefined ? {} : { servername }),
      },
    });
  }

  /** @throws NotSentError; anything else leaves open what the replica did. */
  async send(call: Call, signal: AbortSignal): Promise<Answer> {
    try {
      const { method, path, body } = call;
      const response = await this.#pool.request({
        method,
        path,
        headers: this.signedHeaders(call),
        signal,
        ...(body === undefined ? {} : { body }),
      });
      const leader = response.headers['x-s3db-leader'];
      return {
        status: response.statusCode,
        body: await response.body.bytes(),
        leader: typeof leader === 'string' ? leader : undefined,
      };
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined;
      if (typeof code === 'string' && notSentCodes.has(code)) {
        throw new NotSentError(`${this.name}: ${code}`, { cause: error });
      }
      throw error;
    }
  }

  /** As `send`, for an answer that is read piece by piece; `signal` ends it at any time. */
  async download(
    call: Call,
    signal: AbortSignal,
  ): Promise<{ readonly status: number; readonly pieces: AsyncIterable<Uint8Array> }> {
    const { method, path } = call;
    const response = await this.#pool.request({ method, path, headers: this.signedHeaders(call), signal });
    return { status: response.statusCode, pieces: response.body };
  }

  async close(): Promise<void> {
    await this.#pool.destroy();
  }

  /** With which the call is sent: those of the call, and what SigV4 adds. */
  signedHeaders(call: Call): Record<string, string> {
    const { region, accessKeyId, secretAccessKey } = this.#options;
    const { method, path, body } = call;
    const headers: Record<string, string> = {
      ...call.headers,
      host: this.name,
      'x-amz-content-sha256':
        body === undefined ? emptyHash : createHash('sha256').update(body).digest('hex'),
    };
    const request = {
      service: 's3db',
      region,
      method,
      path,
      headers,
      ...(body === undefined ? {} : { body }),
    };
    // aws4 signs a copy of the headers.
    const signed = aws4.sign(request, { accessKeyId, secretAccessKey }).headers ?? {};
    return Object.fromEntries(Object.entries(signed).map(([name, value]) => [name, String(value)]));
  }
}
