import { resolve } from 'node:path';
import type { Config } from './config/config.ts';
import type { Flags } from './flags.ts';

/**
 * In development mode a config without `[[db]]` gets one of its own: one replica on 127.0.0.1:6660 below base_path,
 * with the first `[[auth]]` pair. Elsewhere the config stays as it is, and `chooseRoles` refuses what can't work.
 */
export function withEmbeddedDatabase(flags: Flags, config: Config): Config {
  const development = flags.backend === 'distributed' && flags.node === -1 && !flags.dbOnly;
  if (!development || config.db.length > 0) return config;
  const [auth] = config.auth;
  return {
    ...config,
    db: [
      {
        id: 1,
        host: '127.0.0.1',
        port: 6660,
        raft_port: 7660,
        path: resolve(config.base_path, 'db'),
        leader: true,
        access_key_id: auth?.access_key_id ?? 'predastore',
        secret_access_key: auth?.secret_access_key ?? 'predastore',
      },
    ],
  };
}
