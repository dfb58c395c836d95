import './reflect_metadata.ts';
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  webcrypto,
} from 'node:crypto';
import { isIP } from 'node:net';

/** A certificate and its private key, both PEM (the key PKCS #8). */
export interface KeyPair {
  readonly certificatePem: string;
  readonly privateKeyPem: string;
}

/** What a host's certificate says. */
interface CertificateRequest {
  /** DNS names and IP addresses, at least one. DNS names may begin with `*.`. */
  readonly names: readonly string[];
  /** The present, in milliseconds since the epoch. */
  readonly nowMs: number;
  /** PEM. Default: a new key. */
  readonly privateKeyPem?: string;
}

const dayMs = 24 * 60 * 60 * 1000;
const authorityLifetimeMs = 3652 * dayMs;
/** Below the 825 days that Apple's TLS accepts. */
const certificateLifetimeMs = 730 * dayMs;
/** Certificates begin this long ago, for hosts whose clocks are behind. */
const leewayMs = 60 * 60 * 1000;

const curve = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const signing = { name: 'ECDSA', hash: 'SHA-256' } as const;

/** A new ECDSA P-256 key, PKCS #8 PEM. */
export function createPrivateKeyPem(): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return privateKey.export({ type: 'pkcs8', format: 'pem' });
}

/**
 * The library is big and only needed to make certificates, so it isn't loaded with the rest of the program; reading
 * them is Node's own.
 */
async function loadLibrary() {
  return await import('@peculiar/x509');
}

async function keysOf(
  privateKey: KeyObject,
): Promise<{ privateKey: webcrypto.CryptoKey; publicKey: webcrypto.CryptoKey }> {
  const pkcs8 = privateKey.export({ type: 'pkcs8', format: 'der' });
  const spki = createPublicKey(privateKey).export({ type: 'spki', format: 'der' });
  return {
    privateKey: await webcrypto.subtle.importKey('pkcs8', pkcs8, curve, false, ['sign']),
    publicKey: await webcrypto.subtle.importKey('spki', spki, curve, true, ['verify']),
  };
}

/** 127 random bits, positive and of constant length, as RFC 5280 wants them. */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes.toString('hex');
}

/** Certificates carry whole seconds. */
function validity(nowMs: number, lifetimeMs: number): { notBefore: Date; notAfter: Date } {
  const startMs = Math.floor((nowMs - leewayMs) / 1000) * 1000;
  return { notBefore: new Date(startMs), notAfter: new Date(startMs + lifetimeMs) };
}

/**
 * Makes a cluster's certificate authority: self-signed, ECDSA P-256, good for ten years and for end certificates
 * only. With the same key it makes another certificate that vouches for the same hosts.
 */
export async function createAuthority(options: {
  /** Becomes part of the subject. */
  readonly clusterId: string;
  readonly nowMs: number;
  /** PEM. Default: a new key. */
  readonly privateKeyPem?: string;
}): Promise<KeyPair> {
  const x509 = await loadLibrary();
  const privateKeyPem = options.privateKeyPem ?? createPrivateKeyPem();
  const keys = await keysOf(createPrivateKey(privateKeyPem));
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: [{ CN: [`s3d ${options.clusterId} CA`] }],
    ...validity(options.nowMs, authorityLifetimeMs),
    signingAlgorithm: signing,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificatePem: `${certificate.toString('pem')}\n`, privateKeyPem };
}

/**
 * Signs a host's certificate, good for two years, as a TLS server and client.
 *
 * @throws RangeError without names.
 */
export async function issueCertificate(authority: KeyPair, request: CertificateRequest): Promise<KeyPair> {
  const [firstName] = request.names;
  if (firstName === undefined) throw new RangeError('names: a certificate needs at least one name');
  const x509 = await loadLibrary();
  const issuer = new x509.X509Certificate(authority.certificatePem);
  const issuerKeys = await keysOf(createPrivateKey(authority.privateKeyPem));
  const privateKeyPem = request.privateKeyPem ?? createPrivateKeyPem();
  const keys = await keysOf(createPrivateKey(privateKeyPem));
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    // A common name holds at most 64 characters. Nothing reads it: names are verified by the extension below.
    subject: [{ CN: [firstName.slice(0, 64)] }],
    issuer: issuer.subjectName,
    ...validity(request.nowMs, certificateLifetimeMs),
    signingAlgorithm: signing,
    signingKey: issuerKeys.privateKey,
    publicKey: keys.publicKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([
        x509.ExtendedKeyUsage.serverAuth,
        x509.ExtendedKeyUsage.clientAuth,
      ]),
      new x509.SubjectAlternativeNameExtension(
        request.names.map((name) => ({ type: isIP(name) === 0 ? 'dns' : 'ip', value: name })),
      ),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuerKeys.publicKey),
    ],
  });
  return { certificatePem: `${certificate.toString('pem')}\n`, privateKeyPem };
}
