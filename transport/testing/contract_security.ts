import { Buffer } from 'node:buffer';
import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { encodeMethod } from '../client_lane.ts';
import type { ServerTls } from '../driver.ts';
import { TransportError } from '../errors.ts';
import { decodeNamed, flagEnd, frameType, protocolVersion } from '../frame.ts';
import { encodeHello, nonceBytes } from '../handshake.ts';
import { maxActiveRequests } from '../limits.ts';
import type { Handlers } from '../transport.ts';
import { collect, forever } from './bodies.ts';
import { TestAuthority } from './certificates.ts';
import { type RawLane, rawFrame } from './raw_lane.ts';
import { RecordingLogger, type Rig, authority, certificate, clusterId, echo, secret } from './rig.ts';
import { listenSilently } from './silent_server.ts';

const asGateway = { from: 'gateway-9', to: 'node-1', clusterId, secret };

/** Who is let in, and what breaking the rules costs. */
export function securityContract(rig: Rig): void {
  describe('strangers', () => {
    it('gets nothing with another secret, and neither side calls it a connection', async () => {
      let calls = 0;
      const server = await rig.serve({
        touch: () => Promise.resolve({ header: Buffer.from(String(++calls)) }),
      });
      const peer = rig.dial(server.port, { secret: Buffer.alloc(32, 8) });
      await expect(peer.call('touch', {}, { deadlineMs: 5000 })).rejects.toMatchObject({ code: 'refused' });
      expect(peer.state).toBe('down');
      expect(calls).toBe(0);
    });

    it('gets nothing with a proof by another secret, whatever it thinks of the server’s', async () => {
      let calls = 0;
      const server = await rig.serve({
        touch: () => Promise.resolve({ header: Buffer.from(String(++calls)) }),
      });
      const lane = await rig.raw(server.port);
      await lane.authenticate({ ...asGateway, kind: 'small', secret: Buffer.alloc(32, 8) });
      lane.write(request('touch'));
      expect(decodeNamed((await lane.frame(frameType.fatal)).payload).name).toBe('refused');
      await lane.untilClosed();
      expect(calls).toBe(0);
      expect(lane.frames.some(({ type }) => type === frameType.accept)).toBe(false);
    });

    it('gets nothing as another cluster’s or for another node', async () => {
      const server = await rig.serve({ echo });
      for (const wrong of [{ clusterId: 'c-2' }, { to: 'node-2' }]) {
        const lane = await rig.raw(server.port);
        const hello = encodeHello({
          ...asGateway,
          kind: 'small',
          nonce: randomBytes(nonceBytes),
          ...wrong,
        });
        lane.write(rawFrame(frameType.hello, hello));
        const fatal = decodeNamed((await lane.frame(frameType.fatal)).payload);
        expect(fatal.name).toBe('refused');
        await lane.untilClosed();
      }
    });

    it('notices a server that doesn’t know the secret', async () => {
      const impostor = await listenSilently(rig.driver, { impostor: true });
      rig.onClose(() => impostor.close());
      const peer = rig.dial(impostor.port);
      await expect(peer.call('echo', {}, { deadlineMs: 5000 })).rejects.toMatchObject({ code: 'refused' });
    });

    it('can’t use a recorded opening again', async () => {
      const server = await rig.serve({ echo });
      const honest = await rig.raw(server.port);
      const { hello, proof } = await honest.authenticate({ ...asGateway, kind: 'small' });
      await honest.frame(frameType.accept).catch(() => undefined);
      const replay = await rig.raw(server.port);
      replay.write(rawFrame(frameType.hello, hello));
      await replay.frame(frameType.challenge);
      replay.write(rawFrame(frameType.proof, proof));
      replay.write(request('echo'));
      expect(decodeNamed((await replay.frame(frameType.fatal)).payload).name).toBe('refused');
      await replay.untilClosed();
      expect(replay.frames.some(({ type }) => type === frameType.response)).toBe(false);
    });

    it('learns which version is spoken', async () => {
      const server = await rig.serve({ echo });
      const lane = await rig.raw(server.port);
      const hello = encodeHello({ ...asGateway, kind: 'small', nonce: randomBytes(nonceBytes) });
      hello.writeUInt16BE(protocolVersion + 1, 4);
      lane.write(rawFrame(frameType.hello, hello));
      const fatal = decodeNamed((await lane.frame(frameType.fatal)).payload);
      expect(fatal.name).toBe('protocol');
      expect(fatal.rest.toString()).toContain(`version ${protocolVersion + 1}`);
      await lane.untilClosed();
    });

    it.each([
      ['noise', () => randomBytes(4096)],
      ['a request before the proof', () => request('touch')],
      ['a length of 4 GiB', () => Buffer.from('0100000000000000ffffffff', 'hex')],
      [
        'a HELLO that lies about its names',
        () =>
          rawFrame(
            frameType.hello,
            Buffer.concat([Buffer.from('s3dL\0\x01\0', 'latin1'), Buffer.alloc(32), Buffer.from([200])]),
          ),
      ],
      ['a proof before HELLO', () => rawFrame(frameType.proof, Buffer.alloc(32))],
    ])('is turned away with %s, and others are served', async (_, bytes) => {
      let calls = 0;
      const server = await rig.serve({
        touch: () => Promise.resolve({ header: Buffer.from(String(++calls)) }),
      });
      const lane = await rig.raw(server.port);
      lane.write(bytes());
      await lane.untilClosed();
      expect(calls).toBe(0);
      await rig.dial(server.port).call('touch', {}, { deadlineMs: 5000 });
    });

    if (rig.secure) {
      it('is refused when its certificate names another node or comes from another CA', async () => {
        const others: ServerTls[] = [
          authority.issue(`node-2.${clusterId}.s3d`),
          authority.issue('node-1.c-2.s3d'),
          new TestAuthority('other CA').issue(`node-1.${clusterId}.s3d`),
        ];
        for (const tls of others) {
          const server = await rig.serve({ echo }, { tls });
          const peer = rig.dial(server.port);
          await expect(peer.call('echo', {}, { deadlineMs: 5000 })).rejects.toMatchObject({
            code: 'refused',
          });
          await peer.close();
        }
      });

      it('is let through only by a setting that is logged', async () => {
        const server = await rig.serve({ echo }, { tls: new TestAuthority('other CA').issue('elsewhere') });
        const log = new RecordingLogger();
        const peer = rig.dial(server.port, {
          logger: log,
          tls: { ca: authority.ca, insecureSkipVerify: true },
        });
        await peer.call('echo', {}, { deadlineMs: 5000 });
        expect(log.warnings.some((line) => line.includes('not verified'))).toBe(true);
      });

      it('sees a new certificate after a reload; a pair that doesn’t fit changes nothing', async () => {
        const server = await rig.serve({ echo });
        const peer = rig.dial(server.port);
        await peer.call('echo', {}, { deadlineMs: 5000 });
        const fresh = authority.issue(`node-1.${clusterId}.s3d`);
        await expect(server.reloadCertificates({ ...fresh, key: certificate.key })).rejects.toMatchObject({
          code: 'refused',
        });
        await peer.call('echo', {}, { deadlineMs: 5000 });
        const next = new TestAuthority('next CA');
        await server.reloadCertificates(next.issue(`node-1.${clusterId}.s3d`));
        const newcomer = rig.dial(server.port, { tls: { ca: next.ca } });
        await newcomer.call('echo', {}, { deadlineMs: 5000 });
      });
    }
  });

  describe('members that break the rules', () => {
    async function member(handlers: Handlers['calls'], kind: 'small' | 'bulk' = 'bulk'): Promise<RawLane> {
      const server = await rig.serve(handlers);
      const lane = await rig.raw(server.port);
      await lane.authenticate({ ...asGateway, kind });
      await lane.frame(frameType.accept).catch(() => undefined);
      return lane;
    }

    it.each([
      ['an unknown frame', () => rawFrame(0x7f)],
      ['a frame too large for its type', () => Buffer.from('150000000000000000100000', 'hex')],
      ['a DATA frame of 4 GiB', () => Buffer.from('1200000000000001ffffffff', 'hex')],
      ['data of a request that never was', () => rawFrame(frameType.data, Buffer.alloc(10), { id: 9 })],
      ['a response', () => rawFrame(frameType.response, Buffer.alloc(0), { id: 1 })],
      [
        'a broken CREDIT',
        () => Buffer.concat([request('hang'), rawFrame(frameType.credit, Buffer.alloc(2), { id: 1 })]),
      ],
      ['a request id twice', () => Buffer.concat([request('hang'), request('hang')])],
      ['a notice nobody takes', () => rawFrame(frameType.notice, Buffer.from('\x01n'))],
      ['a second HELLO', () => rawFrame(frameType.hello, Buffer.alloc(40))],
      ['a truncated REQUEST', () => rawFrame(frameType.request, Buffer.alloc(3), { id: 1 })],
      [
        'a body where there is none',
        () => Buffer.concat([request('hang'), rawFrame(frameType.data, Buffer.alloc(1), { id: 1 })]),
      ],
    ])('lose their lane for %s', async (_, bytes) => {
      const aborted = Promise.withResolvers<undefined>();
      const lane = await member({
        hang: (call) => {
          call.signal.addEventListener('abort', () => aborted.resolve(undefined));
          return forever();
        },
      });
      lane.write(bytes());
      expect(decodeNamed((await lane.frame(frameType.fatal)).payload).name).toBe('protocol');
      await lane.untilClosed();
    });

    it('lose their lane when they send more than they were granted; the handler sees the body fail', async () => {
      const failed = Promise.withResolvers<unknown>();
      const lane = await member({
        hang: async (call) => {
          await new Promise((resolve) => call.signal.addEventListener('abort', resolve));
          await collect(call.body).catch((error: unknown) => failed.resolve(error));
          return {};
        },
      });
      lane.write(request('hang', { body: true }));
      const flood = rawFrame(frameType.data, Buffer.alloc(60_000), { id: 1 });
      for (let i = 0; i < 100; i++) lane.write(flood);
      expect(decodeNamed((await lane.frame(frameType.fatal)).payload).rest.toString()).toContain('granted');
      await lane.untilClosed();
      expect(await failed.promise).toBeInstanceOf(TransportError);
    });

    it('get `overloaded` for requests beyond the bound, and their handlers don’t run', async () => {
      let running = 0;
      const lane = await member({
        hang: () => {
          running++;
          return forever();
        },
      });
      const requests = Array.from({ length: maxActiveRequests + 50 }, (_, i) =>
        request('hang', { id: i + 1 }),
      );
      lane.write(Buffer.concat(requests));
      const error = await lane.frame(frameType.error);
      expect(decodeNamed(error.payload).name).toBe('overloaded');
      expect(error.id).toBe(maxActiveRequests + 1);
      expect(running).toBe(maxActiveRequests);
    });

    it('can’t have more handlers running by cancelling what they asked for', async () => {
      let running = 0;
      const lane = await member({
        hang: () => {
          running++;
          return forever();
        },
      });
      const frames: Buffer[] = [];
      for (let id = 1; id <= maxActiveRequests + 50; id++) {
        frames.push(request('hang', { id }), rawFrame(frameType.cancel, undefined, { id }));
      }
      lane.write(Buffer.concat(frames));
      await lane.frame(frameType.error);
      expect(running).toBe(maxActiveRequests);
    });
  });
}

/** A REQUEST's bytes, without a body unless it says so. */
function request(method: string, options: { readonly id?: number; readonly body?: boolean } = {}): Buffer {
  const deadline = Buffer.alloc(4);
  deadline.writeUInt32BE(60_000);
  return rawFrame(frameType.request, Buffer.concat([deadline, encodeMethod(method)]), {
    id: options.id ?? 1,
    flags: options.body === true ? 0 : flagEnd,
  });
}
