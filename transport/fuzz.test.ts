import { Buffer } from 'node:buffer';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { encodeMethod } from './client_lane.ts';
import { PipeNetwork } from './drivers/pipe.ts';
import { frameType } from './frame.ts';
import { rawFrame } from './testing/raw_lane.ts';
import { collect, turn } from './testing/bodies.ts';
import { Rig, clusterId, echo, secret, sink } from './testing/rig.ts';
import { listenSilently } from './testing/silent_server.ts';

/** Frames that are nearly right: known types, ids in use, payloads that almost fit. */
const deadline = Buffer.from([0, 0, 0x10, 0]);
const payload = fc.oneof(
  fc.uint8Array({ maxLength: 40 }),
  fc.uint8Array({ minLength: 4, maxLength: 4 }),
  fc.constantFrom('echo', 'sink', 'none').map((name) => Buffer.concat([deadline, encodeMethod(name)])),
  fc.constantFrom('notice', 'none').map((name) => encodeMethod(name)),
);
const types = [...Object.values(frameType), 0, 0x7f];
const frame = fc
  .record({
    type: fc.constantFrom(...types),
    flags: fc.nat(3),
    id: fc.oneof(fc.nat(4), fc.constantFrom(2 ** 32, 2 ** 48 - 1)),
    payload,
  })
  .map(({ type, payload: bytes, ...rest }) => rawFrame(type, bytes, rest));
const script = fc.array(
  fc.oneof({ weight: 12, arbitrary: frame }, { weight: 1, arbitrary: fc.uint8Array() }),
  {
    minLength: 1,
    maxLength: 30,
  },
);

describe('whatever a member says', () => {
  const rig = new Rig({ driver: () => new PipeNetwork().driver, secure: false });
  afterEach(() => rig.close());

  it('a server stays up and goes on serving others', async () => {
    const server = await rig.serve({ calls: { echo, sink }, notices: { notice: () => undefined } });
    const peer = rig.dial(server.port);
    await fc.assert(
      fc.asyncProperty(script, fc.constantFrom('small', 'bulk', 'raft'), async (frames, kind) => {
        const lane = await rig.raw(server.port);
        await lane.authenticate({ from: 'gateway-9', to: 'node-1', clusterId, secret, kind });
        for (const bytes of frames) lane.write(bytes);
        for (let i = 0; i < 3; i++) await turn();
        const header = Buffer.from('well');
        const response = await peer.call('echo', { header }, { deadlineMs: 5000 });
        expect(Buffer.from(response.header).toString()).toBe('well');
        await lane.close();
      }),
      { numRuns: 300 },
    );
    expect(peer.state).toBe('up');
  });

  it('a client’s calls end, well or with an error of the transport', async () => {
    let say = Buffer.alloc(0);
    const server = await listenSilently(rig.driver, { say: () => say });
    rig.onClose(() => server.close());
    await fc.assert(
      fc.asyncProperty(script, async (frames) => {
        say = Buffer.concat(frames);
        const peer = rig.dial(server.port);
        const calls = [1, 2, 3].map(() => peer.call('echo', { header: Buffer.alloc(3) }, { deadlineMs: 60 }));
        for (const result of await Promise.allSettled(calls)) {
          if (result.status === 'rejected') expect(result.reason).toHaveProperty('code');
          else
            await collect(result.value.body).catch((error: unknown) => expect(error).toHaveProperty('code'));
        }
        await peer.close();
      }),
      { numRuns: 60 },
    );
  });
});
