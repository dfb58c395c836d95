import type { PeerId } from './transport.ts';

/** A DNS label: what a peer id and a cluster id must be, since a certificate's name is made of them. */
const label = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/**
 * The DNS name in a peer's certificate: `node-3.<cluster id>.s3d`. The dialer asks for it, so a certificate proves
 * which node answers.
 */
export function certificateName(peer: PeerId, clusterId: string): string {
  return `${peer}.${clusterId}.s3d`;
}

/** @throws TypeError that names the argument, the rule and the value. */
export function requireLabel(value: string, argument: string): string {
  if (!label.test(value)) {
    throw new TypeError(
      `${argument}: must be 1 to 63 of a-z, 0-9 and "-", not at its ends (it is part of a DNS name), but is ${JSON.stringify(value)}`,
    );
  }
  return value;
}
