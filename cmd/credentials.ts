import type { AccountDirectory, Credential, CredentialStore } from '../auth/credentials.ts';
import { isExampleKey } from '../auth/example_keys.ts';
import { staticAccounts, staticCredentials } from '../auth/static_credentials.ts';
import type { Config } from './config/config.ts';
import { UsageError } from './errors.ts';
import { isLoopback, type Roles } from './roles.ts';

/** The `[[auth]]` of the config. */
export function openCredentials(config: Config): {
  readonly credentials: CredentialStore;
  readonly accounts: AccountDirectory;
} {
  const list = config.auth.map(toCredential);
  return { credentials: staticCredentials(list), accounts: staticAccounts(list) };
}

/** Keys that the whole world knows must not guard anything that the world can reach. @throws UsageError */
export function refuseExampleKeys(config: Config, roles: Roles): void {
  const hosts = [
    ...(roles.gateway ? [config.host] : []),
    ...roles.nodes.map((node) => node.host),
    ...roles.dbs.map((db) => db.host),
  ];
  const exposed = hosts.find((host) => !isLoopback(host));
  if (exposed === undefined) return;
  const pairs = [
    ...config.auth.map((auth) => ({ table: 'auth', ...auth })),
    ...roles.dbs.map((db) => ({ table: 'db', ...db })),
  ];
  for (const pair of pairs) {
    if (!isExampleKey({ accessKeyId: pair.access_key_id, secretAccessKey: pair.secret_access_key })) continue;
    throw new UsageError(
      `${config.file}: ${pair.table}: '${pair.access_key_id}' is an example or default pair, which is refused on ${exposed}; ` +
        'make a secret of your own (openssl rand -base64 30)',
    );
  }
}

function toCredential(auth: Config['auth'][number]): Credential {
  return {
    accessKeyId: auth.access_key_id,
    secretAccessKey: auth.secret_access_key,
    accountId: auth.account_id,
    displayName: auth.name,
    admin: auth.admin,
    ...(auth.email === undefined ? {} : { email: auth.email }),
    policy: auth.policy,
  };
}
