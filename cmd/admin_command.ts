import { setTimeout as delay } from 'node:timers/promises';
import { AdminClient } from './admin_client.ts';
import { parseCommand } from './arguments.ts';
import { parseBytes } from './byte_sizes.ts';
import { loadConfig } from './config/load.ts';
import { databaseCommand } from './database_admin/command.ts';
import { exitCodes, UsageError } from './errors.ts';
import { userCommand, userOptions, userUsage } from './user_command.ts';
import { nodeStatus, type StatusAnswer } from './node_status.ts';

const usage = `s3d admin node status
s3d admin node add N -address HOST:PORT [-weight W]   take in a shard node (one started with the config joins by itself)
s3d admin node drain N                                move all shards off it; it stays a member
s3d admin node activate N                             take back a drain or a removal
s3d admin node remove N [-wait]                       move all shards off it, then forget it
s3d admin node replace N -address HOST:PORT           it is at another address now, with its disk or an empty one
s3d admin node weight N W                             its share of the shards, 1 being usual
s3d admin bucket quota NAME [-max-bytes B] [-max-objects N] [-clear]
                                                      show, set or take away how much a bucket may hold (B: 10GiB)
s3d admin audit status|resume|approve                 orphans: after a restore, or when there are suspiciously many
s3d admin db status|join|leave|transfer|snapshot|backup|restore|recover
                                                      the metadata database: s3d admin db help
${userUsage}

-config FILE (default cluster.toml) says where the gateway is and has the key; -url URL names another admin listener`;

const options = {
  config: { type: 'string' },
  url: { type: 'string' },
  address: { type: 'string' },
  weight: { type: 'string' },
  'base-path': { type: 'string' },
  wait: { type: 'boolean' },
  'max-bytes': { type: 'string' },
  'max-objects': { type: 'string' },
  clear: { type: 'boolean' },
  ...userOptions,
} as const;

const pollMs = 2000;

/** `s3d admin ...`: asks an admin listener. @returns the exit code */
export async function adminCommand(argv: readonly string[], print: (line: string) => void): Promise<number> {
  if (argv[0] === 'db') return databaseCommand(argv.slice(1), print);
  const { values, positionals } = parseCommand(argv, { name: 'admin', options, usage });
  const [area, verb, ...rest] = positionals;
  const config = await loadConfig(values.config ?? process.env['CONFIG'] ?? 'cluster.toml', {
    basePath: values['base-path'],
  });
  const client = new AdminClient(config, values.url);
  const id = (): number => numberOf(rest[0], 'the id of a node');
  switch (`${area ?? ''} ${verb ?? ''}`) {
    case 'node status': {
      for (const line of nodeStatus(await client.get<StatusAnswer>('/nodes'))) print(line);
      return exitCodes.ok;
    }
    case 'node add': {
      const weight = values.weight === undefined ? {} : { weight: numberOf(values.weight, '-weight') };
      await client.send('POST', '/nodes', { id: id(), ...addressOf(values.address), ...weight });
      print(`node ${id()} is a member; shards are moved to it`);
      return exitCodes.ok;
    }
    case 'node drain':
    case 'node activate':
      await client.send('POST', `/nodes/${id()}/${verb ?? ''}`);
      print(verb === 'drain' ? `node ${id()} is being drained` : `node ${id()} is active`);
      return exitCodes.ok;
    case 'node remove':
      await client.send('DELETE', `/nodes/${id()}`);
      print(`node ${id()} is being emptied, and removed once every object is whole elsewhere`);
      return values.wait === true ? waitRemoved(client, id(), print) : exitCodes.ok;
    case 'node replace':
      await client.send('POST', `/nodes/${id()}/replace`, addressOf(values.address));
      print(`node ${id()} is looked for at ${values.address ?? ''}; what it lacks is rebuilt there`);
      return exitCodes.ok;
    case 'node weight':
      await client.send('POST', `/nodes/${id()}/weight`, { weight: numberOf(rest[1], 'the weight') });
      print(`node ${id()} has another weight; shards are moved`);
      return exitCodes.ok;
    case 'bucket quota':
      await bucketQuota(client, { name: rest[0], values, print });
      return exitCodes.ok;
    case 'audit status': {
      const { repair } = await client.get<StatusAnswer>('/nodes');
      print(JSON.stringify(repair.audit, undefined, 2));
      return exitCodes.ok;
    }
    case 'audit resume':
    case 'audit approve':
      await client.send('POST', `/audit/${verb ?? ''}`);
      print(verb === 'resume' ? 'the audit goes on' : 'the next audit deletes the orphans that it finds');
      return exitCodes.ok;
    default:
      if (await userCommand(client, { area, verb, id: rest[0], values }, print)) return exitCodes.ok;
      throw new UsageError(`admin: expected one of\n${usage}`);
  }
}

async function waitRemoved(client: AdminClient, id: number, print: (line: string) => void): Promise<number> {
  let last = '';
  for (;;) {
    const { nodes, repair } = await client.get<StatusAnswer>('/nodes');
    const node = nodes.find((candidate) => candidate.id === id);
    if (node === undefined || node.membership === 'removed') {
      print(`node ${id} is removed; it may be switched off`);
      return exitCodes.ok;
    }
    if (node.membership !== 'removing') throw new UsageError(`node ${id} is ${node.membership} again`);
    const line = `${repair.rebalance.objects_left} objects left, ${repair.rebalance.eta_s} s`;
    if (line !== last) print(line);
    last = line;
    await delay(pollMs);
  }
}

/** Sets or clears where a flag says so, then shows what the bucket may hold and what it holds. */
async function bucketQuota(
  client: AdminClient,
  command: {
    readonly name: string | undefined;
    readonly values: {
      readonly 'max-bytes'?: string;
      readonly 'max-objects'?: string;
      readonly clear?: boolean;
    };
    readonly print: (line: string) => void;
  },
): Promise<void> {
  const { name, values, print } = command;
  if (name === undefined) throw new UsageError('admin: the name of a bucket expected');
  const path = `/buckets/${encodeURIComponent(name)}/quota`;
  const maxBytes = values['max-bytes'];
  const maxObjects = values['max-objects'];
  if (values.clear === true) await client.send('DELETE', path);
  else if (maxBytes !== undefined || maxObjects !== undefined) {
    await client.send('PUT', path, {
      ...(maxBytes === undefined ? {} : { max_bytes: bytesOf(maxBytes) }),
      ...(maxObjects === undefined ? {} : { max_objects: numberOf(maxObjects, '-max-objects') }),
    });
  }
  const quota = await client.get<Record<string, number | string | null>>(path);
  const limit = (value: number | string | null | undefined): string => String(value ?? 'no limit');
  print(`bytes    ${limit(quota['used_bytes'])} of ${limit(quota['max_bytes'])}`);
  print(`objects  ${limit(quota['used_objects'])} of ${limit(quota['max_objects'])}`);
}

function bytesOf(text: string): number {
  const bytes = parseBytes(text);
  if (bytes === undefined)
    throw new UsageError(`admin: -max-bytes expects a size such as 10GiB, got '${text}'`);
  return bytes;
}

function numberOf(text: string | undefined, what: string): number {
  const value = Number(text);
  if (text === undefined || text === '' || !Number.isFinite(value)) {
    throw new UsageError(`admin: ${what} expected, got '${text ?? ''}'`);
  }
  return value;
}

function addressOf(text: string | undefined): { host: string; port: number } {
  const match = /^\[?([^\]]+?)\]?:(\d+)$/.exec(text ?? '');
  if (match?.[1] === undefined)
    throw new UsageError(`admin: -address HOST:PORT expected, got '${text ?? ''}'`);
  return { host: match[1], port: Number(match[2]) };
}
