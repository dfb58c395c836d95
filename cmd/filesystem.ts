import { join } from 'node:path';
import type { Owner } from '../backend/backend.ts';
import { openFilesystemBackend } from '../backend/filesystem/filesystem_backend.ts';
import { LocalState } from '../backend/local_state.ts';
import type { Config } from './config/config.ts';
import type { ProcessContext } from './context.ts';
import { nothingToRepair } from './admin/cluster_view.ts';
import { openWithKeys, protectionOptions } from './encryption.ts';
import { engineParts } from './engine_parts.ts';
import { UsageError } from './errors.ts';
import { startGateway } from './gateway.ts';
import { createRegistry } from './metrics.ts';

/** The filesystem backend behind a gateway, in this process. */
export async function startFilesystem(
  context: ProcessContext,
): Promise<{ readonly url: string; readonly lines: readonly string[] }> {
  const { config, lifecycle, logger, clock, identity } = context;
  const registry = createRegistry();
  const { observing, usages } = engineParts(config, { logger, registry, holder: 'gateway' });
  const backend = await openWithKeys(context, () =>
    openFilesystemBackend({
      basePath: config.base_path,
      region: config.region,
      logger,
      buckets: config.buckets.map(({ name, pathname, public: open }) => ({
        name,
        owner: firstOwner(config),
        public: open,
        ...(pathname === undefined ? {} : { pathname }),
      })),
      gcDelayMs: config.gc.delay,
      lifecycle: { debugDayMs: config.lifecycle.debug_day },
      storageClasses: config.storage_classes.map(({ name }) => name),
      clock,
      ...observing,
      ...protectionOptions(context),
    }),
  );
  lifecycle.add('filesystem backend', () => backend.close());
  const view = {
    clusterId: identity.clusterId,
    databases: async () => [],
    nodes: async () => [],
    repair: async () => nothingToRepair,
    obstacles: async () => [],
  };
  const state = await LocalState.open(join(config.base_path, 'users'));
  lifecycle.add('users', () => state.close());
  return startGateway(context, { backend, state, view, registry, usages });
}

/** Buckets of the config belong to the first account. */
function firstOwner(config: Config): Owner {
  const [auth] = config.auth;
  if (auth === undefined) throw new UsageError(`${config.file}: buckets: need an [[auth]] to belong to`);
  return { id: auth.account_id, displayName: auth.name };
}
