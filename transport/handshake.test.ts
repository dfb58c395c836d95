import { Buffer } from 'node:buffer';
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TransportError } from './errors.ts';
import { laneKinds } from './frame.ts';
import { decodeHello, encodeHello, nonceBytes, proofsEqual, prove } from './handshake.ts';

const hello = {
  kind: 'bulk',
  nonce: Buffer.alloc(nonceBytes, 3),
  clusterId: 'c-1',
  from: 'gateway-1',
  to: 'node-1',
} as const;

describe('handshake', () => {
  it('reads the HELLO it writes, for every lane', () => {
    for (const kind of laneKinds)
      expect(decodeHello(encodeHello({ ...hello, kind }))).toEqual({ ...hello, kind });
  });

  it('refuses every other payload with a protocol error, never anything else', () => {
    const good = encodeHello(hello);
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.nat(255), fc.nat(good.length), (at, byte, length) => {
        const bad = Buffer.from(good.subarray(0, length));
        if (at < bad.length) bad[at] = byte;
        try {
          decodeHello(bad);
        } catch (error) {
          expect(error).toBeInstanceOf(TransportError);
          expect(error).toMatchObject({ code: 'protocol' });
        }
      }),
    );
    for (let length = 0; length < good.length; length++) {
      expect(() => decodeHello(good.subarray(0, length))).toThrow(TransportError);
    }
    expect(() => decodeHello(Buffer.concat([good, Buffer.alloc(1)]))).toThrow(TransportError);
  });

  it('makes another proof for every other side, secret, nonce, cluster, peer and lane', () => {
    const secret = randomBytes(32);
    const challenge = randomBytes(nonceBytes);
    const base = { secret, hello: encodeHello(hello), challenge };
    const proofs = [
      prove('client', base),
      prove('server', base),
      prove('client', { ...base, secret: randomBytes(32) }),
      prove('client', { ...base, challenge: randomBytes(nonceBytes) }),
      ...[
        { nonce: randomBytes(nonceBytes) },
        { clusterId: 'c-2' },
        { from: 'gateway-2' },
        { to: 'node-2' },
        { kind: 'small' as const },
        // The same letters, cut elsewhere.
        { from: 'gateway-1n', to: 'ode-1' },
      ].map((change) => prove('client', { ...base, hello: encodeHello({ ...hello, ...change }) })),
    ];
    expect(new Set(proofs.map((proof) => proof.toString('hex'))).size).toBe(proofs.length);
    expect(proofsEqual(prove('client', base), prove('client', base))).toBe(true);
    expect(proofsEqual(Buffer.alloc(0), prove('client', base))).toBe(false);
  });
});
