import { collectYoungBuffers } from './buffer_collection.ts';
import type { Config } from './config/config.ts';
import { loadConfig } from './config/load.ts';
import type { ProcessContext } from './context.ts';
import { refuseExampleKeys } from './credentials.ts';
import { databaseUrl, startDatabases } from './databases.ts';
import { startDistributed } from './distributed.ts';
import { withEmbeddedDatabase } from './embedded_database.ts';
import { exitCodes } from './errors.ts';
import { startFilesystem } from './filesystem.ts';
import type { Flags } from './flags.ts';
import { openIdentity } from './identity.ts';
import { Lifecycle } from './lifecycle.ts';
import { openLogger, type Logger } from './logger.ts';
import { createRegistry } from './metrics.ts';
import { chooseRoles, type Roles } from './roles.ts';

/** All parts together may take this long to close; the gateway's own drain is within it. */
const closeMs = 30_000;

/**
 * Starts the roles that flags and config choose, prints what is served where, and serves until a signal or a failure
 * that must not be survived. @returns the exit code.
 */
export async function serve(flags: Flags, print: (line: string) => void): Promise<number> {
  const config = withEmbeddedDatabase(flags, await loadConfig(flags.configFile, flags));
  const roles = chooseRoles(flags, config);
  refuseExampleKeys(config, roles);
  const logger = openLogger(flags.logLevel);
  const lifecycle = new Lifecycle(logger);
  const ending = Promise.withResolvers<Error | NodeJS.Signals>();
  const reloads = new Map<string, () => Promise<void>>();
  const stopSignals = watchSignals(ending.resolve, logger);
  const stopCollecting = collectYoungBuffers();
  try {
    const context: ProcessContext = {
      flags,
      config,
      roles,
      identity: await openIdentity(flags, config, {
        make: roles.development || flags.backend === 'filesystem',
      }),
      logger,
      lifecycle,
      clock: Date.now,
      fatal: ending.resolve,
      onReload: (name, reload) => reloads.set(name, reload),
    };
    const { url, lines } = await start(context);
    const stopReload = watchReload(reloads, logger);
    lines.forEach(print);
    print(`s3d ready ${url}`);
    const end = await ending.promise;
    stopReload();
    if (end instanceof Error) logger.error({ err: end }, 'stopping: a part failed');
    else logger.info({ signal: end }, 'stopping');
    const clean = await lifecycle.close(closeMs);
    return end instanceof Error || !clean ? exitCodes.failure : exitCodes.ok;
  } catch (error) {
    await lifecycle.close(closeMs);
    throw error;
  } finally {
    stopSignals();
    stopCollecting();
    logger.flush();
  }
}

async function start(context: ProcessContext): Promise<{ url: string; lines: readonly string[] }> {
  const { roles, flags, config } = context;
  if (!roles.gateway) {
    const [database] = await startDatabases(context, createRegistry());
    if (database === undefined) throw new Error('no database was chosen');
    const url = databaseUrl(database);
    return { url, lines: [`database ${url}, one of ${config.db.length}`] };
  }
  if (flags.backend === 'filesystem') {
    const { url, lines } = await startFilesystem(context);
    return { url, lines: [...lines, ...tryIt(config, roles, url)] };
  }
  const registry = createRegistry();
  const databases = await startDatabases(context, registry);
  const { url, lines } = await startDistributed(context, databases, registry);
  return { url, lines: [...lines, ...tryIt(config, roles, url)] };
}

/** For whoever has just started it for the first time: lines that work as they are. */
function tryIt(config: Config, roles: Roles, url: string): string[] {
  const [auth] = config.auth;
  const firstTime = roles.development || roles.nodes.length === 0;
  if (auth === undefined || !firstTime || !url.includes('127.0.0.1')) return [];
  const ca = config.tls ? [`export AWS_CA_BUNDLE=${config.base_path}/certs/ca.pem`] : [];
  return [
    'try it:',
    `  export AWS_ACCESS_KEY_ID=${auth.access_key_id} AWS_SECRET_ACCESS_KEY=${auth.secret_access_key}`,
    `  export AWS_DEFAULT_REGION=${config.region} AWS_ENDPOINT_URL=${url}`,
    ...ca.map((line) => `  ${line}`),
    '  aws s3 mb s3://first',
    '  echo hello | aws s3 cp - s3://first/hello.txt',
    '  aws s3 ls s3://first',
    '  aws s3 cp s3://first/hello.txt -',
  ];
}

/** The first signal drains; the second ends the process at once (what is acknowledged is durable already). */
function watchSignals(end: (signal: NodeJS.Signals) => void, logger: Logger): () => void {
  let stopping = false;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (stopping) {
      logger.warn({ signal }, 'a second signal: stopping without draining');
      process.exit(exitCodes.failure);
    }
    stopping = true;
    end(signal);
  };
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal);
  return () => process.off('SIGTERM', onSignal).off('SIGINT', onSignal);
}

/** SIGHUP: read certificates and keys again. What can't be used changes nothing. */
function watchReload(reloads: ReadonlyMap<string, () => Promise<void>>, logger: Logger): () => void {
  const onReload = (): void => {
    for (const [name, reload] of reloads) {
      reload().then(
        () => logger.info({ part: name }, 'read again'),
        (error: unknown) =>
          logger.error({ part: name, err: error }, 'could not be read again; what was there stays'),
      );
    }
  };
  process.on('SIGHUP', onReload);
  return () => process.off('SIGHUP', onReload);
}
