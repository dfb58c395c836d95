import { loadConfig } from './config/load.ts';
import type { Flags } from './flags.ts';
import { certificateDirectory, makeIdentity } from './identity.ts';

/** `s3d certs`: makes what a config needs and lacks. @returns what to tell the operator. */
export async function makeCertificates(flags: Flags): Promise<string> {
  const config = await loadConfig(flags.configFile, flags);
  const { written } = await makeIdentity(config);
  if (written.length === 0)
    return `nothing to do: ${certificateDirectory(config)} has what ${config.file} needs`;
  return [
    ...written.map((file) => `made ${file}`),
    `copy ${certificateDirectory(config)} without ca.key, and ${config.cluster.secret_file}, to the same places on each host`,
  ].join('\n');
}
