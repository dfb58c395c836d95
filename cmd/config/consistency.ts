import { isIP } from 'node:net';
import { isBucketName } from '../../backend/engine/bucket_names.ts';
import { UsageError } from '../errors.ts';
import type { Config } from './config.ts';

/** What no single key's type can say. @throws UsageError, one line a problem. */
export function checkConsistency(config: Config): void {
  const problems: string[] = [];
  const report = (key: string, text: string): void => void problems.push(`${config.file}: ${key}: ${text}`);

  repeated(config.nodes.map((node) => node.id)).forEach((id) =>
    report('nodes', `id ${id} is given twice; each shard node needs its own`),
  );
  repeated(config.db.map((db) => db.id)).forEach((id) =>
    report('db', `id ${id} is given twice; each database node needs its own`),
  );
  repeated(config.auth.map((auth) => auth.access_key_id)).forEach((id) =>
    report('auth', `access_key_id '${id}' is given twice`),
  );
  repeated(config.buckets.map((bucket) => bucket.name)).forEach((id) =>
    report('buckets', `name '${id}' is given twice`),
  );
  for (const { name } of config.buckets) {
    if (!isBucketName(name))
      report('buckets', `name '${name}' is no bucket's name; expected 3 to 63 of a-z, 0-9, '-' and '.'`);
  }
  repeated([...config.nodes.map((node) => node.path), ...config.db.map((db) => db.path)]).forEach((path) => {
    const hosts = [...config.nodes, ...config.db]
      .filter((entry) => entry.path === path)
      .map((entry) => entry.host);
    if (repeated(hosts).length > 0)
      report('path', `'${path}' is used by two roles on one host; each needs a directory of its own`);
  });

  const ports = [
    ...config.nodes.map((node) => ({ key: `nodes id ${node.id}`, at: `${node.host}:${node.port}` })),
    ...config.db.map((db) => ({ key: `db id ${db.id}`, at: `${db.host}:${db.port}` })),
    ...config.db.map((db) => ({
      key: `db id ${db.id} raft_port`,
      at: `${db.host}:${db.raft_port}`,
    })),
  ];
  for (const at of repeated(ports.map((entry) => entry.at))) {
    const users = ports.filter((entry) => entry.at === at).map((entry) => entry.key);
    report('port', `${at} is used by ${users.join(' and ')}; give each its own port`);
  }

  const shards = config.rs.data + config.rs.parity;
  if (config.nodes.length > 0 && config.nodes.length < shards) {
    report(
      'rs',
      `data + parity is ${shards}, but there are ${config.nodes.length} [[nodes]]; each shard of an object needs a node of its own`,
    );
  }
  for (const { name, data, parity } of config.storage_classes) {
    if (config.nodes.length > 0 && config.nodes.length < data + parity) {
      report(
        'storage_classes',
        `data + parity of '${name}' is ${data + parity}, but there are ${config.nodes.length} [[nodes]]; each shard of an object needs a node of its own`,
      );
    }
  }
  repeated(config.storage_classes.map(({ name }) => name)).forEach((name) =>
    report('storage_classes', `name '${name}' is given twice`),
  );
  repeated(config.notifications.map((destination) => destination.name)).forEach((name) =>
    report('notifications', `name '${name}' is given twice`),
  );
  const pairs = new Set(config.db.map((db) => `${db.access_key_id}\0${db.secret_access_key}`));
  if (pairs.size > 1)
    report('db', 'access_key_id and secret_access_key must be the same pair in every [[db]]');
  const leaders = config.db.filter((db) => db.leader).length;
  if (leaders > 1)
    report('db', `leader = true stands in ${leaders} of the [[db]]; at most one can be preferred`);

  for (const node of [...config.nodes, ...config.db]) {
    if (!isHost(node.host)) report('host', `'${node.host}' is neither an IP address nor a host name`);
  }
  if (!isHost(config.host)) report('host', `'${config.host}' is neither an IP address nor a host name`);
  if (config.encryption.key_file !== '' && config.encryption.key_command.length > 0) {
    report('encryption', 'key_file and key_command are both given; keep one of them');
  }
  if (config.transport.driver === 'webtransport') {
    report('transport.driver', "'webtransport' is not available in this version; use auto, http3 or http2");
  }
  if (problems.length > 0) throw new UsageError(problems.join('\n'));
}

/** The values that occur more than once. */
function repeated<T>(values: readonly T[]): T[] {
  return [...new Set(values.filter((value, i) => values.indexOf(value) !== i))];
}

function isHost(host: string): boolean {
  return (
    isIP(host) !== 0 ||
    /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/i.test(host)
  );
}
