import { join } from 'node:path';
import { loadClusterSecret } from './certificates/cluster_secret.ts';
import { ensureDevelopmentCertificates } from './certificates/ensure.ts';
import { CertificateError } from './certificates/errors.ts';
import { hostFiles, hostsOf } from './certificates/hosts.ts';
import { loadIdentity, type Identity } from './certificates/identity.ts';
import type { Config } from './config/config.ts';
import { UsageError } from './errors.ts';
import type { Flags } from './flags.ts';
import { certificateName } from '../transport/peer_name.ts';

/** A process's place in its cluster: what it proves membership with, and the certificates of its hosts. */
export interface ClusterIdentity {
  readonly clusterId: string;
  readonly secret: Uint8Array;
  /** The DNS name that a process's certificate has, such as `node-3` or `db-1`. */
  serverName(peer: string): string;
  /** The certificate of a host of the config, read from its files at each call: SIGHUP loads new ones. */
  certificate(host: string, peers?: readonly string[]): Promise<Identity>;
}

/**
 * Development mode and the filesystem backend make what is missing; a process of a real cluster must be given its files
 * (`s3d certs`), for each host making its own CA would make clusters of their own.
 * @throws UsageError naming the file and what to do.
 */
export async function openIdentity(
  flags: Flags,
  config: Config,
  options: { readonly make: boolean },
): Promise<ClusterIdentity> {
  try {
    const { clusterId, secret } = options.make
      ? await makeIdentity(config)
      : await loadClusterSecret(config.cluster.secret_file);
    return {
      clusterId,
      secret,
      serverName: (peer) => certificateName(peer, clusterId),
      certificate: (host, peers = []) => {
        const names = peers.map((peer) => certificateName(peer, clusterId));
        return explain(loadIdentity(filesOf(flags, config, host), { nowMs: Date.now(), names }));
      },
    };
  } catch (error) {
    throw explained(error);
  }
}

/** Makes the secret, the CA and every host's pair where they are missing. @returns the files written. */
export async function makeIdentity(
  config: Config,
): Promise<{ clusterId: string; secret: Uint8Array; written: readonly string[] }> {
  return explain(
    ensureDevelopmentCertificates({
      directory: certificateDirectory(config),
      secretFile: config.cluster.secret_file,
      hosts: hostsOf(config),
      nowMs: Date.now(),
    }),
  );
}

export function certificateDirectory(config: Config): string {
  return join(config.base_path, 'certs');
}

function filesOf(
  flags: Flags,
  config: Config,
  host: string,
): { certFile: string; keyFile: string; caFile: string } {
  const directory = certificateDirectory(config);
  const { certFile, keyFile } = hostFiles(directory, host);
  return {
    certFile: flags.tlsCert ?? certFile,
    keyFile: flags.tlsKey ?? keyFile,
    caFile: flags.tlsCa ?? join(directory, 'ca.pem'),
  };
}

async function explain<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw explained(error);
  }
}

function explained(error: unknown): unknown {
  return error instanceof CertificateError ? new UsageError(error.message) : error;
}
