import { readFile } from 'node:fs/promises';
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { join } from 'node:path';
import aws4 from 'aws4';
import type { Config } from './config/config.ts';
import { UsageError } from './errors.ts';

const callMs = 30_000;

/** Calls an admin listener with the key of an administrator of the config. */
export class AdminClient {
  readonly #config: Config;
  readonly #url: URL;

  constructor(config: Config, url: string | undefined) {
    this.#config = config;
    const host = config.host.includes(':') ? `[${config.host}]` : config.host;
    this.#url = new URL(url ?? `${config.tls ? 'https' : 'http'}://${host}:${config.port + 1000}`);
  }

  async get<T>(path: string): Promise<T> {
    return (await this.send('GET', path)) as T;
  }

  /** @throws UsageError with what the listener says, or that it can't be reached */
  async send(method: string, path: string, body?: object): Promise<unknown> {
    const auth = this.#config.auth.find((entry) => entry.admin);
    if (auth === undefined) {
      throw new UsageError(`${this.#config.file}: auth: no [[auth]] has admin = true, and this needs one`);
    }
    const text = body === undefined ? '' : JSON.stringify(body);
    const signed = aws4.sign(
      {
        host: this.#url.host,
        path,
        method,
        service: 's3',
        region: this.#config.region,
        ...(text === '' ? {} : { body: text, headers: { 'content-type': 'application/json' } }),
      },
      { accessKeyId: auth.access_key_id, secretAccessKey: auth.secret_access_key },
    );
    const { status, answer } = await this.#exchange(method, {
      path,
      text,
      headers: (signed.headers ?? {}) as Record<string, string>,
    });
    let parsed: unknown;
    try {
      parsed = JSON.parse(answer);
    } catch {
      throw new UsageError(`${this.#url.href}: answered ${status} and something that is not JSON`);
    }
    if (status >= 400) {
      const { message } = parsed as { readonly message?: string };
      throw new UsageError(`${message ?? answer} (${status})`);
    }
    return parsed;
  }

  async #exchange(
    method: string,
    call: { readonly path: string; readonly text: string; readonly headers: Record<string, string> },
  ): Promise<{ readonly status: number; readonly answer: string }> {
    const secure = this.#url.protocol === 'https:';
    const ca = secure ? await readFile(join(this.#config.base_path, 'certs', 'ca.pem'), 'utf8') : undefined;
    return new Promise((resolve, reject) => {
      const outgoing = (secure ? requestHttps : requestHttp)(
        this.#url,
        {
          method,
          path: call.path,
          headers: call.headers,
          timeout: callMs,
          agent: false,
          ...(ca === undefined ? {} : { ca }),
        },
        (response) => {
          let answer = '';
          response.setEncoding('utf8').on('data', (chunk: string) => (answer += chunk));
          response.on('end', () => resolve({ status: response.statusCode ?? 0, answer }));
          response.on('error', reject);
        },
      );
      outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer in ${callMs} ms`)));
      outgoing.on('error', (error) =>
        reject(new UsageError(`the admin listener at ${this.#url.href} can't be reached: ${error.message}`)),
      );
      outgoing.end(call.text);
    });
  }
}
