import { Buffer } from 'node:buffer';
import { describe, expect, it } from 'vitest';
import { BodySender } from './body_sender.ts';
import type { ByteStream } from './driver.ts';
import { FrameParser, frameType } from './frame.ts';
import { LaneWriter } from './lane_writer.ts';
import { initialWindowBytes, kib, maxDataBytes, maxQueuedControlBytes, mib } from './limits.ts';
import { repeat, turn, until } from './testing/bodies.ts';

/** Takes what is written until it is told to say stop. */
class FakeStream implements ByteStream {
  readonly chunks: Uint8Array[] = [];
  full = false;
  ended = false;

  start(): void {
    throw new Error('a writer doesn’t read');
  }

  write(chunk: Uint8Array): boolean {
    this.chunks.push(chunk);
    return !this.full;
  }

  end(): void {
    this.ended = true;
  }

  destroy(): void {
    this.ended = true;
  }

  /** Ids of the DATA frames in their order. */
  dataIds(): number[] {
    const ids: number[] = [];
    const parser = new FrameParser({
      onFrame: () => undefined,
      onData: (id) => {
        if (ids.at(-1) !== id) ids.push(id);
      },
    });
    parser.authenticated('bulk');
    for (const chunk of this.chunks) parser.push(Buffer.from(chunk));
    return ids;
  }
}

function writer(stream: FakeStream, onOverflow: () => void = () => undefined): LaneWriter {
  const made = new LaneWriter({ stream, onOverflow });
  made.maxDataBytes = maxDataBytes;
  return made;
}

describe('LaneWriter', () => {
  it('sends the small frames of a turn in one write', async () => {
    const stream = new FakeStream();
    const lane = writer(stream);
    for (let id = 1; id <= 100; id++) lane.frame(frameType.response, { id }, Buffer.alloc(20));
    await turn();
    expect(stream.chunks.length).toBe(1);
    expect(stream.chunks[0]?.length).toBe(100 * 32);
  });

  it('never writes over what it handed out', async () => {
    const stream = new FakeStream();
    const lane = writer(stream);
    for (let round = 0; round < 50; round++) {
      for (let i = 0; i < 20; i++) lane.frame(frameType.notice, {}, Buffer.alloc(500, round));
      await turn();
    }
    let count = 0;
    const parser = new FrameParser({
      onFrame: (_type, _flags, _id, payload) => {
        expect(payload.every((byte) => byte === Math.floor(count / 20))).toBe(true);
        count++;
      },
      onData: () => undefined,
    });
    parser.authenticated('raft');
    for (const chunk of stream.chunks) parser.push(Buffer.from(chunk));
    expect(count).toBe(1000);
  });

  it('ends the lane of a peer that doesn’t read', async () => {
    const stream = new FakeStream();
    let overflows = 0;
    const lane = writer(stream, () => {
      overflows++;
      lane.close();
    });
    stream.full = true;
    lane.frame(frameType.pong, {}, Buffer.alloc(8));
    await turn();
    const written = stream.chunks.length;
    for (let i = 0; i < 2000 && overflows === 0; i++)
      lane.frame(frameType.response, { id: i }, Buffer.alloc(64 * kib));
    expect(overflows).toBe(1);
    expect(stream.chunks.length).toBe(written);
    expect(lane.queuedBytes).toBe(0);
    expect(maxQueuedControlBytes).toBeLessThan(2000 * 64 * kib);
  });

  it('lets bodies take turns, a frame each, and control frames pass them', async () => {
    const stream = new FakeStream();
    const lane = writer(stream);
    let done = 0;
    for (const id of [1, 2, 3]) {
      const sender = new BodySender({ id, writer: lane, onProgress: () => undefined, onDone: () => done++ });
      sender.grant(16 * mib);
      sender.start(repeat(Buffer.alloc(128 * kib), 10));
    }
    await until(() => done === 3);
    await turn();
    const ids = stream.dataIds();
    for (let i = 0; i + 3 < ids.length - 3; i++) {
      expect(new Set(ids.slice(i, i + 3)).size).toBe(3);
    }
  });

  it('takes from a source only what there is credit and room for', async () => {
    const stream = new FakeStream();
    const lane = writer(stream);
    let taken = 0;
    async function* source(): AsyncGenerator<Uint8Array, void> {
      for (;;) {
        taken += 64 * kib;
        yield Buffer.alloc(64 * kib);
      }
    }
    const sender = new BodySender({
      id: 1,
      writer: lane,
      onProgress: () => undefined,
      onDone: () => undefined,
    });
    sender.start(source());
    for (let i = 0; i < 50; i++) await turn();
    expect(taken).toBeLessThanOrEqual(initialWindowBytes + mib + 64 * kib);
    const sent = stream.chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    expect(sent).toBeLessThanOrEqual(initialWindowBytes + 1000);
    sender.stop();
  });
});
