import { Buffer } from 'node:buffer';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { ByteStream, Connection } from './driver.ts';
import { PipeNetwork } from './drivers/pipe.ts';
import { TransportError } from './errors.ts';
import { decodeNamed, frameType } from './frame.ts';
import { handshakeMs, maxLanesPerPeer, maxUnauthenticatedLanes, serverSilenceMs } from './limits.ts';
import { pausedMs } from './pause.ts';
import { dialPeer } from './peer.ts';
import { listenTransport } from './server.ts';
import { until } from './testing/bodies.ts';
import { RawLane } from './testing/raw_lane.ts';
import { Rig, clusterId, echo, host, secret } from './testing/rig.ts';

const rig = new Rig({ driver: () => new PipeNetwork().driver, secure: false });
afterEach(() => rig.close());

const asGateway = { from: 'gateway-9', to: 'node-1', clusterId, secret, kind: 'small' } as const;

async function openSilently(port: number): Promise<{ readonly connection: Connection; closed: boolean }> {
  const connection = await rig.driver.connect({ host, port, servername: '', timeoutMs: 1000 });
  const stream: ByteStream = await connection.openStream();
  const seen = { connection, closed: false };
  stream.start({
    onData: () => undefined,
    onDrain: () => undefined,
    onClose: () => (seen.closed = true),
  });
  return seen;
}

describe('a server', () => {
  it('drops the oldest of too many streams that prove nothing, and goes on serving', async () => {
    const startMs = performance.now();
    const server = await rig.serve({ echo });
    const silent: Awaited<ReturnType<typeof openSilently>>[] = [];
    for (let i = 0; i < maxUnauthenticatedLanes; i++) silent.push(await openSilently(server.port));
    const peer = rig.dial(server.port);
    await peer.call('echo', {}, { deadlineMs: 1000 });
    await until(() => silent.filter(({ closed }) => closed).length >= 1);
    expect(performance.now() - startMs).toBeLessThan(handshakeMs);
    expect(silent.findIndex(({ closed }) => !closed)).toBe(silent.filter(({ closed }) => closed).length);
  });

  it('holds one peer to its share of lanes', async () => {
    const server = await rig.serve({ echo });
    for (let i = 0; i < maxLanesPerPeer; i++) {
      const lane = await rig.raw(server.port);
      await lane.authenticate(asGateway);
      await lane.frame(frameType.accept);
    }
    const lane = await rig.raw(server.port);
    await lane.authenticate(asGateway);
    expect(decodeNamed((await lane.frame(frameType.fatal)).payload).name).toBe('overloaded');
    await rig.dial(server.port).call('echo', {}, { deadlineMs: 5000 });
  });

  it('refuses names and secrets that can’t be, and methods that are taken', async () => {
    const options = { driver: rig.driver, host, port: 0, self: 'node-1', clusterId, secret };
    const handlers = { calls: { echo } };
    await expect(listenTransport({ ...options, handlers, self: 'Node 1' })).rejects.toThrow(/self/);
    await expect(listenTransport({ ...options, handlers, clusterId: 'a.b' })).rejects.toThrow(/clusterId/);
    await expect(listenTransport({ ...options, handlers, secret: Buffer.alloc(5) })).rejects.toThrow(
      /secret/,
    );
    await expect(listenTransport({ ...options, handlers: [handlers, handlers] })).rejects.toThrow(/echo/);
    const dial = { driver: rig.driver, host, port: 1, peer: 'node-1', self: 'gateway-1', clusterId, secret };
    expect(() => dialPeer({ ...dial, peer: '' })).toThrow(/peer/);
    expect(() => dialPeer({ ...dial, secret: Buffer.alloc(15) })).toThrow(/secret/);
    const server = await rig.serve({ echo });
    expect(() => server.addHandlers({ calls: { echo } })).toThrow(/echo/);
    server.addHandlers({ calls: { other: echo } });
    await rig.dial(server.port).call('other', {}, { deadlineMs: 5000 });
  });

  it('refuses a port that is taken', async () => {
    const server = await rig.serve({ echo });
    await expect(rig.serve({ echo }, { port: server.port })).rejects.toBeInstanceOf(TransportError);
  });
});

describe('time', () => {
  beforeEach(() => {
    vi.useFakeTimers({
      toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'],
    });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  /** Lets what is due happen, a quarter of a second at a time, with turns of the event loop between. */
  async function pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 250) {
      await vi.advanceTimersByTimeAsync(Math.min(250, left));
      for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
    }
  }

  it('ends a stream that doesn’t authenticate itself', async () => {
    const server = await rig.serve({ echo });
    const stream = await openSilently(server.port);
    await pass(handshakeMs - 500);
    expect(stream.closed).toBe(false);
    await pass(1500);
    expect(stream.closed).toBe(true);
  });

  it('ends a lane that falls silent, but not one whose peer lives', async () => {
    const server = await rig.serve({ echo });
    const lane: RawLane = await rig.raw(server.port);
    await lane.authenticate(asGateway);
    await lane.frame(frameType.accept);
    const peer = rig.dial(server.port);
    await pass(serverSilenceMs - 1500);
    expect(lane.closed).toBe(false);
    await pass(4000);
    expect(lane.closed).toBe(true);
    expect(peer.state).toBe('up');
  });

  it('waits longer between attempts, up to a bound, never for ever', async () => {
    const attempts: number[] = [];
    const driver = {
      name: 'nobody',
      listen: () => Promise.reject(new Error('not here')),
      connect: () => {
        attempts.push(performance.now());
        return Promise.reject(new TransportError('unreachable', 'nobody'));
      },
    };
    const peer = dialPeer({
      driver,
      host,
      port: 1,
      peer: 'node-1',
      self: 'gateway-1',
      clusterId,
      secret,
      random: () => 0,
    });
    rig.onClose(() => peer.close());
    await pass(10_000);
    const gaps = attempts.slice(1).map((atMs, i) => Math.round((atMs - (attempts[i] ?? 0)) / 50) * 50);
    expect(gaps.slice(0, 6)).toEqual([50, 100, 200, 400, 800, 1000]);
    expect(attempts.length).toBeGreaterThan(10);
    expect(attempts.length).toBeLessThan(16);
  });

  it('doesn’t hold it against a peer that this process stood still', async () => {
    const server = await rig.serve({ echo });
    const states: string[] = [];
    const peer = rig.dial(server.port, { onState: (state) => states.push(state) });
    await pass(1000);
    expect(peer.state).toBe('up');
    // A jump without a turn of the event loop: nobody could be heard.
    const now = performance.now();
    vi.spyOn(performance, 'now').mockImplementation(() => now + 20_000);
    await vi.advanceTimersToNextTimerAsync();
    vi.restoreAllMocks();
    expect(states).toEqual(['up']);
    expect(pausedMs(250, 250)).toBe(0);
    expect(pausedMs(20_000, 250)).toBe(19_750);
  });
});
