import { flagTable } from './flags.ts';

const commands = [
  {
    name: 'certs',
    help: 'make the CA, the certificates and the cluster secret that a config needs, where they are missing',
  },
  { name: 'format', help: "prepare and mark a shard node's directory: s3d format -config FILE -node N" },
  {
    name: 'admin',
    help: 'look after the cluster: s3d admin node, audit, bucket quota, user, key, db; s3d admin lists the verbs',
  },
  {
    name: 'join',
    help: "fetch the cluster's config for a new node: s3d join https://HOST:9443 -node N -address HOST:PORT",
  },
  {
    name: 'wal',
    help: "look into a shard node's directory while it is down: s3d wal verify|reindex|dump PATH",
  },
  { name: 'version', help: 'print the version' },
  { name: 'help', help: 'print this' },
] as const;

/** What `s3d help` prints. */
export function helpText(): string {
  const flags = flagTable.map((row) => {
    const flag = row.value === undefined ? `-${row.flag}` : `-${row.flag} ${row.value}`;
    return `  ${flag.padEnd(18)} ${row.env.padEnd(10)} ${row.help}`;
  });
  const list = commands.map((command) => `  s3d ${command.name.padEnd(10)} ${command.help}`);
  return [
    's3d: an S3-compatible object store',
    '',
    '  s3d [flags]     serve',
    ...list,
    '',
    'Flags, and the environment variables that stand in for them:',
    ...flags,
    '',
  ].join('\n');
}
