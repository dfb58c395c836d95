import { parseArgs } from 'node:util';
import { argumentsRefusal, withLongFlags } from './arguments.ts';
import { UsageError } from './errors.ts';

/** What the command line and the environment said; `undefined` where neither did, so that the config file decides. */
export interface Flags {
  readonly configFile: string;
  readonly backend: 'filesystem' | 'distributed';
  /** Shard node to run; -1: development mode, all of them. */
  readonly node: number;
  readonly dbOnly: boolean;
  /** Database node to run; -1: as the roles' rules choose. */
  readonly dbNode: number;
  readonly host: string | undefined;
  readonly port: number | undefined;
  readonly basePath: string | undefined;
  readonly tlsCert: string | undefined;
  readonly tlsKey: string | undefined;
  readonly tlsCa: string | undefined;
  readonly logLevel: LogLevel;
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** Flag, environment variable, what `s3d help` says. One table, so that none of the three can be forgotten. */
export const flagTable = [
  { flag: 'config', env: 'CONFIG', value: 'FILE', help: 'config file (default config/server.toml)' },
  { flag: 'backend', env: 'BACKEND', value: 'TYPE', help: 'filesystem (default) or distributed' },
  {
    flag: 'node',
    env: 'NODE',
    value: 'N',
    help: 'shard node id to run; -1 (default): development mode, every node of the config in this process',
  },
  { flag: 'db', env: 'DB_ONLY', value: undefined, help: 'run only the database server' },
  {
    flag: 'db-node',
    env: 'DB_NODE',
    value: 'N',
    help: 'database node id to run; -1 (default): the one on this host',
  },
  { flag: 'host', env: 'HOST', value: 'ADDR', help: 'gateway address (overrides the file)' },
  {
    flag: 'port',
    env: 'PORT',
    value: 'PORT',
    help: 'gateway port (overrides the file); the admin listener is on PORT + 1000',
  },
  { flag: 'base-path', env: 'BASE_PATH', value: 'DIR', help: 'root for relative paths (overrides the file)' },
  { flag: 'tls-cert', env: 'TLS_CERT', value: 'FILE', help: "this host's certificate, PEM" },
  { flag: 'tls-key', env: 'TLS_KEY', value: 'FILE', help: "this host's private key, PEM" },
  { flag: 'tls-ca', env: 'TLS_CA', value: 'FILE', help: "the cluster's certificate authority, PEM" },
  { flag: 'log-level', env: 'LOG_LEVEL', value: 'LEVEL', help: 'debug, info (default), warn or error' },
] as const;

type FlagName = (typeof flagTable)[number]['flag'];

/**
 * Reads flags (one or two dashes) over environment variables over defaults.
 * @throws UsageError naming the flag or variable, its value and what would be right.
 */
export function parseFlags(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Flags {
  const given = parseArgv(argv);
  const read = (flag: FlagName): Source | undefined => {
    const value = given[flag];
    if (value !== undefined) return { name: `-${flag}`, value: String(value) };
    const row = flagTable.find((entry) => entry.flag === flag);
    const fromEnv = row === undefined ? undefined : env[row.env];
    if (row === undefined || fromEnv === undefined || fromEnv === '') return undefined;
    // npm gives the scripts it runs NODE=/path/to/node, which says nothing about shard nodes.
    if (row.env === 'NODE' && fromEnv.startsWith('/')) return undefined;
    return { name: row.env, value: fromEnv };
  };
  const port = read('port');
  return {
    configFile: read('config')?.value ?? 'config/server.toml',
    backend: oneOf(read('backend'), ['filesystem', 'distributed'], 'filesystem'),
    node: integer(read('node'), { least: -1, most: 65_535 }) ?? -1,
    dbOnly: boolean(read('db')),
    dbNode: integer(read('db-node'), { least: -1, most: 65_535 }) ?? -1,
    host: read('host')?.value,
    port: integer(port, { least: 1, most: 64_535 }),
    basePath: read('base-path')?.value,
    tlsCert: read('tls-cert')?.value,
    tlsKey: read('tls-key')?.value,
    tlsCa: read('tls-ca')?.value,
    logLevel: oneOf(read('log-level'), ['debug', 'info', 'warn', 'error'], 'info'),
  };
}

interface Source {
  readonly name: string;
  readonly value: string;
}

function parseArgv(argv: readonly string[]): Partial<Record<string, string | boolean>> {
  const args = withLongFlags(argv);
  const options = Object.fromEntries(
    flagTable.map((row) => [
      row.flag,
      { type: row.value === undefined ? ('boolean' as const) : ('string' as const) },
    ]),
  );
  // `--node -1`: parseArgs takes a value that starts with a dash only in the form `--node=-1`.
  const joined: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] ?? '';
    const next = args[i + 1];
    const takesValue = flagTable.some((row) => `--${row.flag}` === arg && row.value !== undefined);
    if (takesValue && next !== undefined && /^-\d/.test(next)) {
      joined.push(`${arg}=${next}`);
      i++;
    } else joined.push(arg);
  }
  try {
    const { values } = parseArgs({ args: joined, options, strict: true, allowPositionals: false });
    return values;
  } catch (error) {
    throw new UsageError(`${argumentsRefusal(error)}; 's3d help' lists the flags`);
  }
}

function oneOf<T extends string>(source: Source | undefined, values: readonly T[], fallback: T): T {
  if (source === undefined) return fallback;
  const found = values.find((value) => value === source.value);
  if (found === undefined)
    throw new UsageError(`${source.name}: '${source.value}' is not one of ${values.join(', ')}`);
  return found;
}

function integer(source: Source | undefined, bounds: { least: number; most: number }): number | undefined {
  if (source === undefined) return undefined;
  const value = Number(source.value);
  if (!/^-?\d+$/.test(source.value) || value < bounds.least || value > bounds.most) {
    throw new UsageError(
      `${source.name}: '${source.value}' is not a whole number from ${bounds.least} to ${bounds.most}`,
    );
  }
  return value;
}

function boolean(source: Source | undefined): boolean {
  if (source === undefined) return false;
  if (source.value === 'true' || source.value === '1') return true;
  if (source.value === 'false' || source.value === '0') return false;
  throw new UsageError(`${source.name}: '${source.value}' is neither true nor false`);
}
