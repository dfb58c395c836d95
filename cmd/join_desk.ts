import { readFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { parse } from 'smol-toml';
import { authenticate } from '../auth/authenticate.ts';
import { AuthError } from '../auth/errors.ts';
import { staticCredentials } from '../auth/static_credentials.ts';
import type { MemberRegistry } from '../backend/distributed/member_registry.ts';
import { signedRequest } from './admin/authenticate.ts';
import type { JoinDesk } from './admin/join_desk_port.ts';
import type { ProcessContext } from './context.ts';
import { joinCredential, joinService } from './join_credential.ts';

/** Keys of a config that are this host's own business. */
const ownKeys: readonly string[] = ['host', 'base_path', 'nodes', 'buckets'];

/** Gives hosts that have the cluster's secret the config. Undefined without TLS: it holds keys. */
export function joinDesk(context: ProcessContext, registry: MemberRegistry): JoinDesk | undefined {
  const { config, identity, clock } = context;
  if (!config.tls) return undefined;
  const credential = joinCredential(identity);
  const credentials = staticCredentials([
    { ...credential, accountId: '-', displayName: '-', admin: false, policy: [] },
  ]);
  return {
    authenticate: async (request: IncomingMessage) => {
      try {
        const found = await authenticate(signedRequest(request), {
          credentials,
          nowMs: clock(),
          region: config.region,
          service: joinService,
        });
        return found.kind === 'signed' ? {} : { refusal: "the cluster's secret is needed here" };
      } catch (error) {
        if (error instanceof AuthError) return { refusal: error.message };
        throw error;
      }
    },
    config: async () => {
      const raw = parse(await readFile(config.file, 'utf8'));
      const shared = Object.entries(raw).filter(([key]) => !ownKeys.includes(key));
      const members = registry.current.members.filter((member) => member.state !== 'removed');
      return {
        ...Object.fromEntries(shared),
        nodes: members.map(({ id, host, port, weight }) => ({
          id,
          host,
          port,
          path: `shards/node-${id}/`,
          weight,
        })),
      };
    },
  };
}
