import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ClientEndpoint, type Answer, type Call } from '../../s3db/client_endpoint.ts';
import type { StatusInfo } from '../../s3db/rest/service.ts';
import { certificateName } from '../../transport/peer_name.ts';
import { CertificateError } from '../certificates/errors.ts';
import { loadClusterSecret } from '../certificates/cluster_secret.ts';
import type { Config } from '../config/config.ts';
import { UsageError } from '../errors.ts';
import { certificateDirectory } from '../identity.ts';

/** The database said no. */
export class DatabaseRefusedError extends Error {
  override readonly name = 'DatabaseRefusedError';
}

interface Address {
  readonly id: number;
  readonly host: string;
  readonly port: number;
}

const callMs = 30_000;
const statusMs = 3000;
const retryPauseMs = 500;
/** No answer, or one that says to try again. */
const passing: ReadonlySet<number> = new Set([500, 502, 503, 504]);

/** The REST services of a config's databases, with the key pair that stands there. */
export class DatabaseAdmin {
  readonly #config: Config;
  readonly #trust: { readonly ca: string; readonly clusterId: string };
  readonly #endpoints = new Map<string, ClientEndpoint>();

  private constructor(config: Config, trust: { readonly ca: string; readonly clusterId: string }) {
    this.#config = config;
    this.#trust = trust;
  }

  /** @throws UsageError when the config has no database, or its CA or secret can't be read. */
  static async open(config: Config, caFile?: string): Promise<DatabaseAdmin> {
    if (config.db.length === 0) throw new UsageError(`${config.file}: db: there is no [[db]]`);
    try {
      const { clusterId } = await loadClusterSecret(config.cluster.secret_file);
      const ca = await readFile(caFile ?? join(certificateDirectory(config), 'ca.pem'), 'utf8');
      return new DatabaseAdmin(config, { ca, clusterId });
    } catch (error) {
      const isMissing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
      if (error instanceof CertificateError || isMissing) throw new UsageError((error as Error).message);
      throw error;
    }
  }

  get addresses(): readonly Address[] {
    return this.#config.db.map(({ id, host, port }) => ({ id, host, port }));
  }

  /** What each says of itself; undefined: it doesn't answer. */
  async statuses(): Promise<ReadonlyMap<number, StatusInfo | string>> {
    const statuses = await Promise.all(
      this.addresses.map(async (address): Promise<[number, StatusInfo | string]> => {
        try {
          const call = { method: 'GET', path: '/status', headers: {} } as const;
          const answer = await this.#endpoint(address).send(call, AbortSignal.timeout(statusMs));
          if (answer.status !== 200) return [address.id, messageOf(answer)];
          return [address.id, JSON.parse(Buffer.from(answer.body).toString()) as StatusInfo];
        } catch (error) {
          return [address.id, error instanceof Error ? error.message : String(error)];
        }
      }),
    );
    return new Map(statuses);
  }

  /** @throws DatabaseRefusedError */
  async ask(id: number, call: Call): Promise<Readonly<Record<string, unknown>>> {
    const address = this.addresses.find((one) => one.id === id);
    if (address === undefined) throw new UsageError(`${this.#config.file}: there is no [[db]] with id ${id}`);
    return okJson(await this.#endpoint(address).send(withTimeout(call), AbortSignal.timeout(callMs)));
  }

  /**
   * Asks the leader, and whoever leads next, until one answers for good. @throws DatabaseRefusedError, also when none did in time.
   */
  async askLeader(call: Call, limitMs = 60_000): Promise<Readonly<Record<string, unknown>>> {
    const deadlineMs = performance.now() + limitMs;
    let reason = 'no database answers';
    while (performance.now() < deadlineMs) {
      try {
        const leader = await this.leader();
        const answer = await this.#endpoint(leader).send(withTimeout(call), AbortSignal.timeout(callMs));
        if (!passing.has(answer.status)) return okJson(answer);
        reason = messageOf(answer);
      } catch (error) {
        if (error instanceof DatabaseRefusedError) throw error;
        reason = error instanceof Error ? error.message : String(error);
      }
      await delay(retryPauseMs);
    }
    throw new DatabaseRefusedError(reason);
  }

  /** @throws Error when no database knows one. */
  async leader(): Promise<Address> {
    let reason = 'no database answers';
    for (const address of this.addresses) {
      try {
        const call = { method: 'GET', path: '/v1/leader', headers: {} } as const;
        const answer = await this.#endpoint(address).send(call, AbortSignal.timeout(statusMs));
        if (answer.status === 200) return JSON.parse(Buffer.from(answer.body).toString()) as Address;
        reason = messageOf(answer);
      } catch (error) {
        reason = error instanceof Error ? error.message : String(error);
      }
    }
    throw new Error(reason);
  }

  /** An answer of any size, piece by piece. @throws DatabaseRefusedError */
  async download(address: Address, path: string, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const answer = await this.#endpoint(address).download({ method: 'GET', path, headers: {} }, signal);
    if (answer.status === 200) return answer.pieces;
    const pieces: Uint8Array[] = [];
    for await (const piece of answer.pieces) pieces.push(piece);
    throw new DatabaseRefusedError(messageOf({ status: answer.status, body: Buffer.concat(pieces) }));
  }

  async close(): Promise<void> {
    await Promise.all([...this.#endpoints.values()].map((endpoint) => endpoint.close()));
  }

  #endpoint({ id, host, port }: Address): ClientEndpoint {
    const name = `${host}:${port}`;
    const known = this.#endpoints.get(name);
    if (known !== undefined) return known;
    const [db] = this.#config.db;
    if (db === undefined) throw new Error('a config without [[db]]');
    const endpoint = new ClientEndpoint({
      endpoint: { host, port, servername: certificateName(`db-${id}`, this.#trust.clusterId) },
      ca: this.#trust.ca,
      region: this.#config.region,
      accessKeyId: db.access_key_id,
      secretAccessKey: db.secret_access_key,
      connections: 1,
      maxResponseBytes: -1,
    });
    this.#endpoints.set(name, endpoint);
    return endpoint;
  }
}

export function post(path: string, body: unknown): Call {
  return { method: 'POST', path, headers: {}, body: Buffer.from(JSON.stringify(body)) };
}

/** The replica is to answer before the caller gives up. */
function withTimeout(call: Call): Call {
  return { ...call, headers: { ...call.headers, 'x-s3db-timeout-ms': String(callMs - 5000) } };
}

function okJson(answer: Answer): Readonly<Record<string, unknown>> {
  if (answer.status !== 200) throw new DatabaseRefusedError(messageOf(answer));
  return JSON.parse(Buffer.from(answer.body).toString()) as Readonly<Record<string, unknown>>;
}

function messageOf(answer: Pick<Answer, 'status' | 'body'>): string {
  const text = Buffer.from(answer.body).toString();
  try {
    const json: unknown = JSON.parse(text);
    if (typeof json === 'object' && json !== null && 'message' in json) return String(json.message);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  return `status ${answer.status} ${text.slice(0, 200)}`;
}
