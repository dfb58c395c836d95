/** `make cluster`: starts the cluster of a config file on this machine and stops it when interrupted. */
import { Cluster } from './cluster.ts';

const configFile = process.argv[2] ?? 'cluster.toml';
const cluster = await Cluster.start(configFile);
const out = process.stdout;
out.write(`cluster of ${configFile} is up; logs are in ${cluster.config.base_path}/logs\n`);
for (const [id, server] of [...cluster.databases, ...cluster.nodes])
  out.write(`  ${server.name.padEnd(8)} ${server.url}  pid ${server.pid}  id ${id}\n`);
const auth = cluster.config.auth[0];
if (auth !== undefined) {
  out.write(`try it:
  export AWS_ACCESS_KEY_ID=${auth.access_key_id} AWS_SECRET_ACCESS_KEY=${auth.secret_access_key}
  export AWS_DEFAULT_REGION=${cluster.config.region} AWS_CA_BUNDLE=${cluster.caFile}
  aws --endpoint-url https://127.0.0.1:${cluster.config.port} s3 mb s3://try
  aws --endpoint-url https://127.0.0.1:${cluster.config.port} s3 cp README.md s3://try/
  aws --endpoint-url https://127.0.0.1:${cluster.config.port + 1} s3 ls s3://try
interrupt (Ctrl-C) stops it\n`);
}
await new Promise<void>((resolve) => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
});
await cluster.stop('SIGTERM');
