import { createPrivateKey, X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { createAuthority, createPrivateKeyPem, issueCertificate, type KeyPair } from './authority.ts';
import { ensureClusterSecret } from './cluster_secret.ts';
import { CertificateError } from './errors.ts';
import { createOnce, ensureDirectory, readIfPresent, replaceFile, requirePrivate } from './files.ts';
import { certificateNames, hostFiles, type HostRoles } from './hosts.ts';
import { type IdentityFiles, isNamed } from './identity.ts';

/** What `ensureDevelopmentCertificates` is to make. */
interface EnsureOptions {
  /** `<base_path>/certs`. Made if it isn't there. */
  readonly directory: string;
  /** `[cluster] secret_file`, absolute. */
  readonly secretFile: string;
  readonly hosts: readonly HostRoles[];
  /** The present, in milliseconds since the epoch. */
  readonly nowMs: number;
}

/** What is there now. */
interface EnsuredCertificates {
  readonly clusterId: string;
  readonly secret: Uint8Array;
  /** By host, as given. */
  readonly identities: ReadonlyMap<string, IdentityFiles>;
  /** Files written by this call; empty when everything was there. */
  readonly written: readonly string[];
}

/** A certificate is made anew when it has less than this left. */
const renewBeforeMs = 30 * 24 * 60 * 60 * 1000;

/**
 * Makes what is missing of a cluster's secret, CA and certificates, and leaves alone what is there.
 *
 * Safe at any point to be killed, and for several processes at once: a key is created whole under its final name by
 * one of them, and the others go on with that key. A certificate is made from its key, so any that two processes make
 * for one key are equally good. Certificates that lack a name, were signed by another CA or end within 30 days are
 * made anew with the key they have.
 *
 * Without `ca.key` (a host that was given its files) nothing can be signed: then everything must be there.
 *
 * @throws CertificateError for files that can't be read or parsed, or can't be made without `ca.key`.
 */
export async function ensureDevelopmentCertificates(options: EnsureOptions): Promise<EnsuredCertificates> {
  const { directory, secretFile, hosts, nowMs } = options;
  const written: string[] = [];
  const { clusterId, secret, created } = await ensureClusterSecret(secretFile);
  if (created) written.push(secretFile);
  await ensureDirectory(directory);
  const caFile = join(directory, 'ca.pem');
  const authority = await ensureAuthority({ directory, caFile, clusterId, nowMs, written });
  const identities = new Map<string, IdentityFiles>();
  for (const roles of hosts) {
    const files = hostFiles(directory, roles.host);
    await ensureHost({ ...files, names: certificateNames(roles, clusterId), authority, nowMs, written });
    identities.set(roles.host, { ...files, caFile });
  }
  return { clusterId, secret, identities, written };
}

/** The CA as far as it is here. */
interface Authority {
  readonly certificate: X509Certificate;
  /** Absent on hosts that only have their own pair. */
  readonly pair: KeyPair | undefined;
  readonly keyFile: string;
}

interface AuthorityOptions {
  readonly directory: string;
  readonly caFile: string;
  readonly clusterId: string;
  readonly nowMs: number;
  readonly written: string[];
}

async function ensureAuthority(options: AuthorityOptions): Promise<Authority> {
  const { directory, caFile, clusterId, nowMs, written } = options;
  const keyFile = join(directory, 'ca.key');
  const present = await readIfPresent(caFile);
  let privateKeyPem = await readIfPresent(keyFile);
  if (privateKeyPem === undefined && present !== undefined) {
    return { certificate: parseCertificate(caFile, present), pair: undefined, keyFile };
  }
  if (privateKeyPem === undefined) {
    const made = await createOnce(keyFile, { text: createPrivateKeyPem(), mode: 0o600 });
    if (made.created) written.push(keyFile);
    privateKeyPem = made.text;
  }
  await requirePrivate(keyFile);
  checkKey(keyFile, privateKeyPem);
  let certificatePem = present;
  if (certificatePem === undefined) {
    const { certificatePem: text } = await createAuthority({ clusterId, nowMs, privateKeyPem });
    const made = await createOnce(caFile, { text, mode: 0o644 });
    if (made.created) written.push(caFile);
    certificatePem = made.text;
  }
  const certificate = parseCertificate(caFile, certificatePem);
  if (!certificate.checkPrivateKey(createPrivateKey(privateKeyPem))) {
    throw new CertificateError(
      'key-mismatch',
      keyFile,
      `isn't the key of ${caFile}; restore the one that is`,
    );
  }
  return { certificate, pair: { certificatePem, privateKeyPem }, keyFile };
}

interface HostOptions {
  readonly certFile: string;
  readonly keyFile: string;
  readonly names: readonly string[];
  readonly authority: Authority;
  readonly nowMs: number;
  readonly written: string[];
}

async function ensureHost(options: HostOptions): Promise<void> {
  const { certFile, keyFile, names, authority, nowMs, written } = options;
  const present = await readIfPresent(certFile);
  let privateKeyPem = await readIfPresent(keyFile);
  if (present !== undefined && privateKeyPem !== undefined) {
    checkKey(keyFile, privateKeyPem);
    if (isGood(parseCertificate(certFile, present), privateKeyPem, options)) return;
  }
  const { pair } = authority;
  if (pair === undefined) {
    throw new CertificateError(
      'missing',
      authority.keyFile,
      `there is no such file, and without it ${certFile} can't be made for ${names.join(', ')}; ` +
        "run 's3d certs' where the CA's key is, and copy this host's pair",
    );
  }
  if (privateKeyPem === undefined) {
    const made = await createOnce(keyFile, { text: createPrivateKeyPem(), mode: 0o600 });
    if (made.created) written.push(keyFile);
    privateKeyPem = made.text;
  }
  await requirePrivate(keyFile);
  checkKey(keyFile, privateKeyPem);
  const { certificatePem } = await issueCertificate(pair, { names, nowMs, privateKeyPem });
  await replaceFile(certFile, { text: certificatePem, mode: 0o644 });
  written.push(certFile);
}

function isGood(certificate: X509Certificate, privateKeyPem: string, options: HostOptions): boolean {
  const { names, nowMs } = options;
  const authority = options.authority.certificate;
  return (
    certificate.checkPrivateKey(createPrivateKey(privateKeyPem)) &&
    certificate.checkIssued(authority) &&
    certificate.verify(authority.publicKey) &&
    certificate.validToDate.getTime() - nowMs > renewBeforeMs &&
    names.every((name) => isNamed(certificate, name))
  );
}

function parseCertificate(file: string, pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch {
    throw new CertificateError(
      'malformed',
      file,
      'holds no certificate that can be parsed; remove it to have it made anew',
    );
  }
}

function checkKey(file: string, pem: string): void {
  try {
    createPrivateKey(pem);
  } catch {
    throw new CertificateError('malformed', file, 'holds no private key that can be read; restore it');
  }
}
