import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { CertificateError } from './errors.ts';
import { readRequired, requirePrivate } from './files.ts';

/** Where a host's identity lies. */
export interface IdentityFiles {
  /** The host's certificate, PEM, followed by intermediate ones if there are any. */
  readonly certFile: string;
  /** Its private key, PEM, not encrypted. */
  readonly keyFile: string;
  /** The cluster's CA, PEM; several may stand in one file while one replaces the other. */
  readonly caFile: string;
}

/** A host's identity, checked. All PEM, as Node's TLS and the HTTP/3 library take them. */
export interface Identity {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
  /** When the certificate ends, in milliseconds since the epoch. */
  readonly expiresAtMs: number;
}

const hint = "make it with 's3d certs'";
const maxCertificatesPerFile = 16;

/** @throws CertificateError `malformed` if there is no certificate or one can't be read. */
function parseCertificates(file: string, pem: string): [X509Certificate, ...X509Certificate[]] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  const [first, ...rest] = blocks.slice(0, maxCertificatesPerFile).map((block) => {
    try {
      return new X509Certificate(block);
    } catch {
      // OpenSSL's own text (an ASN.1 position) helps nobody.
      throw new CertificateError(
        'malformed',
        file,
        `holds a certificate that can't be parsed; ${hint} again`,
      );
    }
  });
  if (first === undefined) throw new CertificateError('malformed', file, `holds no PEM certificate; ${hint}`);
  return [first, ...rest];
}

function parseKey(file: string, pem: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    throw new CertificateError(
      'malformed',
      file,
      'holds no private key that can be read (PEM, without passphrase)',
    );
  }
}

function checkPeriod(file: string, certificate: X509Certificate, nowMs: number): void {
  if (nowMs >= certificate.validToDate.getTime()) {
    throw new CertificateError(
      'expired',
      file,
      `expired at ${certificate.validToDate.toISOString()}; ${hint} again`,
    );
  }
  if (nowMs < certificate.validFromDate.getTime()) {
    throw new CertificateError(
      'not-yet-valid',
      file,
      `is valid only from ${certificate.validFromDate.toISOString()}; check this machine's clock`,
    );
  }
}

function isCurrent(certificate: X509Certificate, nowMs: number): boolean {
  return certificate.validFromDate.getTime() <= nowMs && nowMs < certificate.validToDate.getTime();
}

function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

/** Whether a chain of certificates leads from the first one to an authority. Each step takes one off the list. */
function leadsTo(
  authorities: readonly X509Certificate[],
  certificate: X509Certificate,
  intermediates: readonly X509Certificate[],
): boolean {
  if (authorities.some((authority) => isIssuedBy(certificate, authority))) return true;
  const next = intermediates.find((issuer) => issuer.ca && isIssuedBy(certificate, issuer));
  if (next === undefined) return false;
  return leadsTo(
    authorities,
    next,
    intermediates.filter((other) => other !== next),
  );
}

/** Whether a certificate is good for a DNS name or an IP address. */
export function isNamed(certificate: X509Certificate, name: string): boolean {
  if (isIP(name) !== 0) return certificate.checkIP(name) !== undefined;
  if (name.startsWith('*.')) return (certificate.subjectAltName ?? '').split(', ').includes(`DNS:${name}`);
  return certificate.checkHost(name, { subject: 'never' }) !== undefined;
}

/**
 * Reads a host's certificate, key and the cluster's CA, and checks that they belong together and are good now, so
 * that a wrong file stops the start with a name and a reason instead of failing handshakes later.
 *
 * @param options.names names the certificate must have, such as `node-3.<cluster id>.s3d`.
 * @throws CertificateError
 */
export async function loadIdentity(
  files: IdentityFiles,
  options: { readonly nowMs: number; readonly names?: readonly string[] },
): Promise<Identity> {
  const { certFile, keyFile, caFile } = files;
  const ca = await readRequired(caFile, `${hint}, or copy it from another host of the cluster`);
  const cert = await readRequired(certFile, hint);
  const key = await readRequired(keyFile, hint);
  await requirePrivate(keyFile);
  const authorities = parseCertificates(caFile, ca);
  const [certificate, ...intermediates] = parseCertificates(certFile, cert);
  const privateKey = parseKey(keyFile, key);
  const current = authorities.filter((authority) => isCurrent(authority, options.nowMs));
  if (current.length === 0) checkPeriod(caFile, authorities[0], options.nowMs);
  checkPeriod(certFile, certificate, options.nowMs);
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new CertificateError('key-mismatch', keyFile, `isn't the key of ${certFile}; ${hint} again`);
  }
  if (!leadsTo(current, certificate, intermediates)) {
    throw new CertificateError(
      'wrong-authority',
      certFile,
      `isn't signed by the CA in ${caFile}; both must be of one cluster`,
    );
  }
  const missing = (options.names ?? []).filter((name) => !isNamed(certificate, name));
  if (missing.length > 0) {
    throw new CertificateError(
      'wrong-name',
      certFile,
      `isn't made out to ${missing.join(', ')}; ${hint} again`,
    );
  }
  return { cert, key, ca, expiresAtMs: certificate.validToDate.getTime() };
}
