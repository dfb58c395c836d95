import { randomBytes } from 'node:crypto';
import { dirname } from 'node:path';
import { parse, TomlError } from 'smol-toml';
import { CertificateError } from './errors.ts';
import { createOnce, ensureDirectory, readIfPresent, requirePrivate } from './files.ts';

/** What makes a process a member of one cluster and of no other. */
interface ClusterSecret {
  /** 16 lower-case hexadecimal digits, part of the DNS names in the cluster's certificates. Not secret. */
  readonly clusterId: string;
  /** 32 random bytes: who knows them is a node of the cluster. */
  readonly secret: Uint8Array;
}

const hint = "make it with 's3d certs', or copy it from another host of the cluster";

function format(clusterId: string, secretHex: string): string {
  return (
    '# Whoever has this file is a node of the cluster: keep it 0600, and the same on every host.\n' +
    `cluster_id = "${clusterId}"\nsecret = "${secretHex}"\n`
  );
}

function parseSecret(file: string, text: string): ClusterSecret {
  const table = parseTable(file, text);
  const { cluster_id: clusterId, secret } = table;
  if (typeof clusterId !== 'string' || !/^[0-9a-f]{16}$/.test(clusterId)) {
    throw new CertificateError('malformed', file, `cluster_id must be 16 hexadecimal digits; ${hint}`);
  }
  if (typeof secret !== 'string' || !/^[0-9a-f]{64}$/.test(secret)) {
    throw new CertificateError('malformed', file, `secret must be 64 hexadecimal digits; ${hint}`);
  }
  return { clusterId, secret: Buffer.from(secret, 'hex') };
}

function parseTable(file: string, text: string): Record<string, unknown> {
  try {
    return parse(text);
  } catch (error) {
    // The parser's message would quote the line, and with it the secret.
    if (error instanceof TomlError)
      throw new CertificateError('malformed', file, `isn't valid TOML; ${hint}`);
    throw error;
  }
}

/**
 * Reads the cluster secret.
 *
 * @throws CertificateError `missing`, `unreadable`, `exposed` or `malformed`. No message repeats any of the secret.
 */
export async function loadClusterSecret(file: string): Promise<ClusterSecret> {
  const text = await readIfPresent(file);
  if (text === undefined) throw new CertificateError('missing', file, `there is no such file; ${hint}`);
  await requirePrivate(file);
  return parseSecret(file, text);
}

/** Reads the cluster secret, and makes it first if there is none. Of processes that start at once, one makes it. */
export async function ensureClusterSecret(
  file: string,
): Promise<ClusterSecret & { readonly created: boolean }> {
  if ((await readIfPresent(file)) !== undefined)
    return { ...(await loadClusterSecret(file)), created: false };
  await ensureDirectory(dirname(file));
  const text = format(randomBytes(8).toString('hex'), randomBytes(32).toString('hex'));
  const { created } = await createOnce(file, { text, mode: 0o600 });
  return { ...(await loadClusterSecret(file)), created };
}
