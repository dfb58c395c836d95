import { ClientEndpoint, type Endpoint, type EndpointOptions } from '../s3db/client_endpoint.ts';
import type { DatabaseView } from './admin/cluster_view.ts';

/** A replica that takes longer to say how it is counts as not up. */
const deadlineMs = 1000;

const roles: readonly string[] = [
  'leader',
  'follower',
  'candidate',
  'learner',
] satisfies DatabaseView['role'][];

/** Asks each database replica for its `/status`. */
export class DatabaseStatus {
  readonly #replicas: readonly { readonly id: number; readonly endpoint: ClientEndpoint }[];

  constructor(
    endpoints: readonly (Endpoint & { readonly id: number })[],
    options: Omit<EndpointOptions, 'endpoint' | 'connections'>,
  ) {
    this.#replicas = endpoints.map((endpoint) => ({
      id: endpoint.id,
      endpoint: new ClientEndpoint({ ...options, endpoint, connections: 1 }),
    }));
  }

  async read(): Promise<readonly DatabaseView[]> {
    return Promise.all(
      this.#replicas.map(async ({ id, endpoint }): Promise<DatabaseView> => {
        try {
          const signal = AbortSignal.timeout(deadlineMs);
          const call = { method: 'GET', path: '/status', headers: {} } as const;
          const answer = await endpoint.send(call, signal);
          const { role } = JSON.parse(Buffer.from(answer.body).toString()) as { role?: unknown };
          const known = typeof role === 'string' && roles.includes(role);
          return { id, role: known ? (role as DatabaseView['role']) : 'unknown', up: known };
        } catch {
          // Down, cut off or stuck: which of them, the replica's own log says.
          return { id, role: 'unknown', up: false };
        }
      }),
    );
  }

  async close(): Promise<void> {
    await Promise.all(this.#replicas.map(({ endpoint }) => endpoint.close()));
  }
}
