/**
 * How a lane proves itself. The client says who it is and whom it wants (HELLO), the server answers with a fresh
 * nonce (CHALLENGE), the client proves that it knows the cluster's secret (PROOF), and only then the server proves the
 * same (ACCEPT):
 *
 * ```
 * PROOF  = HMAC-SHA256(secret, "s3d lane client" 00, length of HELLO (32), HELLO, CHALLENGE)
 * ACCEPT = HMAC-SHA256(secret, "s3d lane server" 00, length of HELLO (32), HELLO, CHALLENGE)
 * ```
 *
 * HELLO holds version, lane, client nonce, cluster id and both ids, so a proof is good for one lane between these two
 * and can't be passed on to another node; both nonces are fresh, so it can't be replayed; the labels differ, so it
 * can't be reflected. No clock takes part: a step of the clock cuts nobody off.
 */
import { Buffer } from 'node:buffer';
import { createHmac, timingSafeEqual } from 'node:crypto';
import { TransportError } from './errors.ts';
import { type LaneKind, laneKinds, protocolVersion } from './frame.ts';
import type { PeerId } from './transport.ts';

export const nonceBytes = 32;
/** A shorter secret can be guessed offline by whoever has seen one proof. */
export const minSecretBytes = 16;

const magic = Buffer.from('s3dL', 'latin1');
const fixedBytes = magic.length + 2 + 1 + nonceBytes;

export interface Hello {
  readonly kind: LaneKind;
  readonly nonce: Uint8Array;
  readonly clusterId: string;
  readonly from: PeerId;
  readonly to: PeerId;
}

export function encodeHello(hello: Hello): Buffer {
  const names = [hello.clusterId, hello.from, hello.to].map((name) => {
    const bytes = Buffer.from(name, 'latin1');
    return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  });
  const fixed = Buffer.alloc(magic.length + 3);
  magic.copy(fixed);
  fixed.writeUInt16BE(protocolVersion, magic.length);
  fixed[magic.length + 2] = laneKinds.indexOf(hello.kind);
  return Buffer.concat([fixed, hello.nonce, ...names]);
}

/** @throws TransportError `protocol` when it is none, or of a version that isn't spoken here. */
export function decodeHello(payload: Buffer): Hello {
  if (payload.length < magic.length + 2 || !payload.subarray(0, magic.length).equals(magic)) {
    throw new TransportError('protocol', 'this is no HELLO');
  }
  const version = payload.readUInt16BE(magic.length);
  if (version !== protocolVersion) {
    throw new TransportError('protocol', `version ${version} isn't spoken here, only ${protocolVersion}`);
  }
  const kind = laneKinds[payload[magic.length + 2] ?? 255];
  if (payload.length < fixedBytes || kind === undefined)
    throw new TransportError('protocol', 'a broken HELLO');
  const names: string[] = [];
  let offset = fixedBytes;
  for (let i = 0; i < 3; i++) {
    const length = payload[offset] ?? 0;
    if (length === 0 || offset + 1 + length > payload.length) {
      throw new TransportError('protocol', 'a broken HELLO');
    }
    names.push(payload.toString('latin1', offset + 1, offset + 1 + length));
    offset += 1 + length;
  }
  const [clusterId = '', from = '', to = ''] = names;
  if (offset !== payload.length) throw new TransportError('protocol', 'a broken HELLO');
  return { kind, nonce: payload.subarray(magic.length + 3, fixedBytes), clusterId, from, to };
}

/** The proof of one side for one opening of a lane. */
export function prove(
  side: 'client' | 'server',
  opening: { readonly secret: Uint8Array; readonly hello: Uint8Array; readonly challenge: Uint8Array },
): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(opening.hello.length);
  return createHmac('sha256', opening.secret)
    .update(`s3d lane ${side}\0`)
    .update(length)
    .update(opening.hello)
    .update(opening.challenge)
    .digest();
}

/** In constant time. */
export function proofsEqual(given: Uint8Array, expected: Uint8Array): boolean {
  return given.length === expected.length && timingSafeEqual(given, expected);
}
