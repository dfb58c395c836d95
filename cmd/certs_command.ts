import type { Config } from './config/config.ts';
import { loadConfig } from './config/load.ts';
import { UsageError } from './errors.ts';
import type { Flags } from './flags.ts';
import { certificateDirectory, makeIdentity } from './identity.ts';

/**
 * `s3d certs`: makes what a config needs and lacks; with `-node N -host ADDRESS` the pair of a node that is to join as
 * well. @returns what to tell the operator.
 */
export async function makeCertificates(flags: Flags): Promise<string> {
  const config = await loadConfig(flags.configFile, flags.node === -1 ? flags : { basePath: flags.basePath });
  const { written } = await makeIdentity(withNode(config, flags));
  if (written.length === 0)
    return `nothing to do: ${certificateDirectory(config)} has what ${config.file} needs`;
  return [
    ...written.map((file) => `made ${file}`),
    `copy ${certificateDirectory(config)} without ca.key, and ${config.cluster.secret_file}, to the same places on each host`,
  ].join('\n');
}

function withNode(config: Config, flags: Flags): Config {
  const { node, host } = flags;
  if (node === -1 || config.nodes.some((known) => known.id === node)) return config;
  if (host === undefined) {
    throw new UsageError(
      `certs: -node ${node}: ${config.file} has no such node; give its address with -host`,
    );
  }
  return { ...config, nodes: [...config.nodes, { id: node, host, port: 1, path: '' }] };
}
