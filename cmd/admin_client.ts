import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Config } from './config/config.ts';
import { UsageError } from './errors.ts';
import { callAdmin } from './https_call.ts';

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
    const secure = this.#url.protocol === 'https:';
    return callAdmin({
      url: this.#url,
      method,
      path,
      body,
      service: 's3',
      region: this.#config.region,
      accessKeyId: auth.access_key_id,
      secretAccessKey: auth.secret_access_key,
      ca: secure ? await readFile(join(this.#config.base_path, 'certs', 'ca.pem'), 'utf8') : undefined,
    });
  }
}
