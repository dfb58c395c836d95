import { BackupDamagedError } from '../../s3db/backup_file.ts';
import { parseCommand } from '../arguments.ts';
import type { Config } from '../config/config.ts';
import { loadConfig } from '../config/load.ts';
import { exitCodes, UsageError } from '../errors.ts';
import { backUp, readBackup, restore } from './backup.ts';
import { DatabaseAdmin, DatabaseRefusedError, post } from './client.ts';
import { recover } from './recover.ts';
import { describeStatus } from './status.ts';

const usage = `s3d admin db status                     role, progress, space and contact of each database; exit code 1 when something is wrong
s3d admin db join ID [-address HOST:PORT] [-raft-port PORT]
                                        announce a further database (default: where the config says); then start it, empty
s3d admin db leave ID                   take one out of the cluster for good
s3d admin db transfer ID                let another lead
s3d admin db snapshot [-db-node I]      compact the log of one, or of all
s3d admin db backup FILE                everything at one moment, checked, into a new file
s3d admin db verify FILE                check a backup, and say what it is
s3d admin db restore FILE               a backup into an empty database that nothing uses yet
s3d admin db recover [-db-node I,J] [-yes]
                                        a majority is lost for good, the survivors are down: a new cluster from the most
                                        advanced of those whose directories are on this host

-config FILE (default cluster.toml) has the addresses and the key pair; -tls-ca FILE is another authority than its own`;

const options = {
  config: { type: 'string' },
  'base-path': { type: 'string' },
  'tls-ca': { type: 'string' },
  'db-node': { type: 'string' },
  address: { type: 'string' },
  'raft-port': { type: 'string' },
  yes: { type: 'boolean' },
} as const;

type Print = (line: string) => void;

interface Call {
  readonly config: Config;
  readonly values: ReturnType<typeof parseCommand<typeof options>>['values'];
  readonly rest: readonly string[];
  readonly print: Print;
}

/** `s3d admin db ...`. @returns the exit code */
export async function databaseCommand(argv: readonly string[], print: Print): Promise<number> {
  const { values, positionals } = parseCommand(argv, { name: 'admin db', options, usage });
  const [verb, ...rest] = positionals;
  if (verb === undefined || verb === 'help') {
    print(usage);
    return verb === undefined ? exitCodes.config : exitCodes.ok;
  }
  const file = values.config ?? process.env['CONFIG'] ?? 'cluster.toml';
  const config = await loadConfig(file, { basePath: values['base-path'] });
  const call = { config, values, rest, print };
  try {
    if (verb === 'verify') return await verify(fileOf(rest), print);
    if (verb === 'recover') {
      return await recover(config, {
        ids: values['db-node']?.split(',').map((text) => idOf(text)),
        yes: values.yes === true,
        print,
        nowMs: Date.now(),
      });
    }
    const database = await DatabaseAdmin.open(config, values['tls-ca']);
    try {
      return await ask(verb, database, call);
    } finally {
      await database.close();
    }
  } catch (error) {
    if (!(error instanceof DatabaseRefusedError) && !(error instanceof BackupDamagedError)) throw error;
    print(`s3d: ${error.message}`);
    return exitCodes.failure;
  }
}

async function ask(verb: string, database: DatabaseAdmin, call: Call): Promise<number> {
  const { rest, values, print } = call;
  switch (verb) {
    case 'status': {
      const { lines, healthy } = describeStatus(await database.statuses());
      for (const line of lines) print(line);
      return healthy ? exitCodes.ok : exitCodes.failure;
    }
    case 'join': {
      const address = joiningAddress(call);
      await database.askLeader(post('/v1/join', address));
      print(
        `db ${address.id} is announced at ${address.host}:${address.port}; start it with an empty directory`,
      );
      return exitCodes.ok;
    }
    case 'leave': {
      const id = idOf(rest[0]);
      await database.askLeader(post('/v1/leave', { id }));
      print(`db ${id} is no member any more; it may be switched off`);
      return exitCodes.ok;
    }
    case 'transfer': {
      const id = idOf(rest[0]);
      await database.askLeader(post('/v1/transfer', { id }));
      print(`db ${id} leads`);
      return exitCodes.ok;
    }
    case 'snapshot': {
      const given = values['db-node'];
      const ids = given === undefined ? database.addresses.map(({ id }) => id) : [idOf(given)];
      for (const id of ids) {
        const { index } = await database.ask(id, post('/v1/snapshot', {}));
        print(`db ${id}: the log begins behind entry ${String(index)}`);
      }
      return exitCodes.ok;
    }
    case 'backup': {
      const file = fileOf(rest);
      const backup = await backUp(database, file);
      print(`${file}: ${backup.rows} rows up to entry ${backup.index}, contents ${backup.contents}`);
      return exitCodes.ok;
    }
    case 'restore': {
      const backup = await restore(database, fileOf(rest), print);
      print(`${backup.rows} rows of ${backup.created} are restored and checked, contents ${backup.contents}`);
      print("nothing is deleted as an orphan until 's3d admin audit resume'");
      return exitCodes.ok;
    }
    default:
      throw new UsageError(`admin db: expected one of\n${usage}`);
  }
}

async function verify(file: string, print: Print): Promise<number> {
  const backup = await readBackup(file);
  print(`${file} is sound: ${backup.rows} rows, contents ${backup.contents}`);
  print(`made ${backup.created} of cluster ${backup.cluster}, entry ${backup.index} of term ${backup.term}`);
  print(`last write ${backup.logTime ?? 'never'}`);
  return exitCodes.ok;
}

function joiningAddress({ config, values, rest }: Call): {
  id: number;
  host: string;
  port: number;
  raft_port: number;
} {
  const id = idOf(rest[0]);
  const known = config.db.find((db) => db.id === id);
  const match = /^\[?([^\]]+?)\]?:(\d+)$/.exec(values.address ?? '');
  if (values.address !== undefined && match === null) {
    throw new UsageError(`-address: HOST:PORT expected, got '${values.address}'`);
  }
  const host = match?.[1] ?? known?.host;
  const port = match === null ? known?.port : Number(match[2]);
  if (host === undefined || port === undefined) {
    throw new UsageError(`${config.file} has no [[db]] with id ${id}: give -address HOST:PORT`);
  }
  const raftPort = values['raft-port'] ?? (match === null ? known?.raft_port : undefined) ?? port + 1000;
  return { id, host, port, raft_port: Number(raftPort) };
}

function idOf(text: string | undefined): number {
  const id = Number(text);
  if (text === undefined || !Number.isSafeInteger(id) || id < 1) {
    throw new UsageError(`admin db: the id of a [[db]] expected, got '${text ?? ''}'`);
  }
  return id;
}

function fileOf(rest: readonly string[]): string {
  const [file] = rest;
  if (file === undefined || rest.length > 1) throw new UsageError('admin db: one file expected');
  return file;
}
