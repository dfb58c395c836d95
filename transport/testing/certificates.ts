import { Buffer } from 'node:buffer';
import { type KeyObject, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import type { ServerTls } from '../driver.ts';

/**
 * A certificate authority that lives as long as a test. Certificates are put together from their DER parts (RFC 5280):
 * P-256 keys, SHA-256, one DNS name.
 */
export class TestAuthority {
  readonly ca: string;
  readonly #key: KeyObject;
  readonly #name: Buffer;

  constructor(name = 'test CA') {
    const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    this.#key = keys.privateKey;
    this.#name = commonName(name);
    this.ca = this.#certificate(this.#name, keys.publicKey, [
      extension(oid.basicConstraints, sequence(tlv(0x01, Buffer.from([0xff])))),
      // keyCertSign and cRLSign.
      extension(oid.keyUsage, tlv(0x03, Buffer.from([1, 0x06]))),
    ]);
  }

  /** A server's certificate for one DNS name. */
  issue(dnsName: string): ServerTls {
    const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const cert = this.#certificate(commonName(dnsName), keys.publicKey, [
      extension(oid.subjectAltName, sequence(tlv(0x82, Buffer.from(dnsName, 'latin1')))),
      extension(oid.extendedKeyUsage, sequence(tlv(0x06, oid.serverAuth))),
    ]);
    return { ca: this.ca, cert, key: keys.privateKey.export({ type: 'pkcs8', format: 'pem' }) };
  }

  #certificate(subject: Buffer, key: KeyObject, extensions: readonly Buffer[]): string {
    const algorithm = sequence(tlv(0x06, oid.ecdsaWithSha256));
    const now = Date.now();
    const body = sequence(
      tlv(0xa0, tlv(0x02, Buffer.from([2]))),
      tlv(0x02, Buffer.concat([Buffer.from([1]), randomBytes(8)])),
      algorithm,
      this.#name,
      sequence(time(now - 3_600_000), time(now + 86_400_000)),
      subject,
      key.export({ type: 'spki', format: 'der' }),
      tlv(0xa3, sequence(...extensions)),
    );
    const signature = tlv(0x03, Buffer.concat([Buffer.from([0]), sign('sha256', body, this.#key)]));
    const base64 = sequence(body, algorithm, signature).toString('base64');
    const lines = base64.match(/.{1,64}/g) ?? [];
    return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
  }
}

const oid = {
  commonName: Buffer.from('550403', 'hex'),
  subjectAltName: Buffer.from('551d11', 'hex'),
  basicConstraints: Buffer.from('551d13', 'hex'),
  keyUsage: Buffer.from('551d0f', 'hex'),
  extendedKeyUsage: Buffer.from('551d25', 'hex'),
  serverAuth: Buffer.from('2b06010505070301', 'hex'),
  ecdsaWithSha256: Buffer.from('2a8648ce3d040302', 'hex'),
};

function tlv(tag: number, value: Buffer): Buffer {
  const length =
    value.length < 0x80
      ? Buffer.from([value.length])
      : value.length < 0x100
        ? Buffer.from([0x81, value.length])
        : Buffer.from([0x82, value.length >> 8, value.length & 0xff]);
  return Buffer.concat([Buffer.from([tag]), length, value]);
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return tlv(0x30, Buffer.concat(parts));
}

function commonName(name: string): Buffer {
  const attribute = sequence(tlv(0x06, oid.commonName), tlv(0x0c, Buffer.from(name, 'utf8')));
  return sequence(tlv(0x31, attribute));
}

function extension(id: Buffer, value: Buffer): Buffer {
  return sequence(tlv(0x06, id), tlv(0x04, value));
}

function time(ms: number): Buffer {
  const text = new Date(ms).toISOString().replace(/[-:T]/g, '').slice(2, 14);
  return tlv(0x17, Buffer.from(`${text}Z`, 'latin1'));
}
