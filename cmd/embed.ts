import type { Backend } from '../backend/backend.ts';
import { loadConfig } from './config/load.ts';
import { refuseExampleKeys } from './credentials.ts';
import { startDatabases } from './databases.ts';
import { openDistributed } from './distributed.ts';
import { withEmbeddedDatabase } from './embedded_database.ts';
import { parseFlags } from './flags.ts';
import { openIdentity } from './identity.ts';
import { Lifecycle } from './lifecycle.ts';
import { openLogger, type Logger } from './logger.ts';
import { createRegistry } from './metrics.ts';
import { chooseRoles } from './roles.ts';

export interface EmbedOptions {
  /** A `cluster.toml`. */
  readonly configFile: string;
  /** The shard node that this program is; absent: all nodes and databases of the config run in it. */
  readonly node?: number;
  /** Default: warnings and errors as JSON lines on stderr. */
  readonly logger?: Logger;
  /** Called when a disk has failed and the backend must not be used any more. */
  readonly onFatal?: (error: Error) => void;
}

export interface EmbeddedBackend {
  readonly backend: Backend;
  /** Closes the backend and all below it. @returns whether everything closed cleanly; the log tells what didn't. */
  close(): Promise<boolean>;
}

/**
 * Opens the distributed backend in one's own program: the same engine, nodes and database as `s3d` runs, without
 * listeners for clients.
 *
 * @example
 * const { backend, close } = await openDistributedBackend({ configFile: 'config/dev.toml' });
 * const { body } = await backend.getObject({ bucket: 'photos', key: 'a.jpg', authorize: () => {} });
 * await close();
 * @throws UsageError for a config that can't be used.
 */
export async function openDistributedBackend(options: EmbedOptions): Promise<EmbeddedBackend> {
  const node = options.node === undefined ? [] : ['-node', String(options.node)];
  const flags = parseFlags(['-backend', 'distributed', '-config', options.configFile, ...node], {});
  const config = withEmbeddedDatabase(flags, await loadConfig(flags.configFile));
  const roles = chooseRoles(flags, config);
  refuseExampleKeys(config, roles);
  const logger = options.logger ?? openLogger('warn');
  const lifecycle = new Lifecycle(logger);
  try {
    const context = {
      flags,
      config,
      roles,
      identity: await openIdentity(flags, config, { make: roles.development }),
      logger,
      lifecycle,
      clock: Date.now,
      fatal: (error: Error) => {
        logger.error({ err: error }, 'the backend failed');
        options.onFatal?.(error);
      },
      onReload: () => undefined,
    };
    const registry = createRegistry();
    const databases = await startDatabases(context, registry);
    const { backend } = await openDistributed(context, { databases, metrics: registry });
    return { backend, close: async () => lifecycle.close(30_000) };
  } catch (error) {
    await lifecycle.close(10_000);
    throw error;
  }
}
