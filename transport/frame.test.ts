import { Buffer } from 'node:buffer';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TransportError } from './errors.ts';
import {
  FrameParser,
  decodeNamed,
  decodeRequest,
  encodeError,
  flagEnd,
  frameType,
  writeFrameHeader,
} from './frame.ts';
import { maxDataBytes, maxErrorBytes, maxNoticeBytes } from './limits.ts';
import { rawFrame } from './testing/raw_lane.ts';

type Seen = readonly [type: number, flags: number, id: number, payload: string];

/** What comes out of a parser fed with these chunks; parts of one DATA frame are put together again. */
function parse(chunks: readonly Buffer[], kind: 'small' | 'bulk' = 'bulk'): Seen[] {
  const seen: Seen[] = [];
  let data: { id: number; text: string } | undefined;
  const flush = (flags: number): void => {
    if (data !== undefined) seen.push([frameType.data, flags, data.id, data.text]);
    data = undefined;
  };
  const parser = new FrameParser({
    onFrame: (type, flags, id, payload) => {
      flush(0);
      seen.push([type, flags, id, payload.toString('hex')]);
    },
    onData: (id, part, last) => {
      if (data !== undefined && data.id !== id) flush(0);
      data = { id, text: (data?.text ?? '') + part.toString('hex') };
      if (last) flush(flagEnd);
    },
  });
  parser.authenticated(kind);
  for (const chunk of chunks) parser.push(chunk);
  flush(0);
  return seen;
}

function cut(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  const chunks: Buffer[] = [];
  let offset = 0;
  for (let i = 0; offset < bytes.length; i++) {
    const size = sizes[i % sizes.length] ?? 1;
    chunks.push(bytes.subarray(offset, offset + size));
    offset += size;
  }
  return chunks;
}

describe('FrameParser', () => {
  it('finds the same frames however the bytes are cut', () => {
    const frames = fc.array(
      fc.record({
        type: fc.constantFrom(frameType.request, frameType.response, frameType.data, frameType.notice),
        id: fc.integer({ min: 0, max: 2 ** 48 - 1 }),
        payload: fc.uint8Array({ maxLength: 300 }),
      }),
      { minLength: 1, maxLength: 12 },
    );
    const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(frames, sizes, (list, cuts) => {
        const bytes = list.map(({ type, id, payload }) => rawFrame(type, payload, { id, flags: flagEnd }));
        const expected = list.map(({ type, id, payload }): Seen => [
          type,
          flagEnd,
          id,
          Buffer.from(payload).toString('hex'),
        ]);
        expect(parse([Buffer.concat(bytes)])).toEqual(expected);
        expect(parse(cut(Buffer.concat(bytes), cuts))).toEqual(expected);
        expect(parse(cut(Buffer.concat(bytes), [1]))).toEqual(expected);
      }),
      { numRuns: 60 },
    );
  });

  it('refuses a length at its header, before it holds anything', () => {
    const lie = (type: number, length: number): Buffer => {
      const header = Buffer.alloc(12);
      writeFrameHeader(header, 0, { type, flags: 0, id: 1, length });
      return header;
    };
    expect(() => parse([lie(frameType.data, maxDataBytes + 1)])).toThrow(TransportError);
    expect(() => parse([lie(frameType.data, 64 * 1024 + 1)], 'small')).toThrow(TransportError);
    expect(() => parse([lie(frameType.notice, maxNoticeBytes + 1000)])).toThrow(TransportError);
    const before = process.memoryUsage().arrayBuffers;
    const parsers = Array.from({ length: 100 }, () => {
      const parser = new FrameParser({ onFrame: () => undefined, onData: () => undefined });
      parser.authenticated('raft');
      parser.push(Buffer.concat([lie(frameType.notice, maxNoticeBytes), Buffer.alloc(10)]));
      return parser;
    });
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(100 * 64 * 1024);
    expect(parsers.length).toBe(100);
  });

  it('knows only the handshake before it is told otherwise, and only the lane’s frames after it', () => {
    const parser = new FrameParser({ onFrame: () => undefined, onData: () => undefined });
    expect(() => parser.push(rawFrame(frameType.ping, Buffer.alloc(8)))).toThrow(/isn't allowed/);
    expect(() => parse([rawFrame(frameType.hello, Buffer.alloc(8))])).toThrow(/isn't allowed/);
    expect(() => parse([rawFrame(0xee)])).toThrow(/isn't allowed/);
  });

  it('says nothing more once it is stopped', () => {
    let frames = 0;
    const parser: FrameParser = new FrameParser({
      onFrame: () => {
        frames++;
        parser.stop();
      },
      onData: () => undefined,
    });
    parser.authenticated('small');
    parser.push(Buffer.concat([rawFrame(frameType.pong), rawFrame(frameType.pong), Buffer.from('noise')]));
    expect(frames).toBe(1);
  });
});

describe('payloads', () => {
  it('cuts an error to what a frame may hold', () => {
    const payload = encodeError('c'.repeat(1000), 'é'.repeat(10_000));
    expect(payload.length).toBeLessThanOrEqual(maxErrorBytes);
    expect(decodeNamed(payload).name).toBe('c'.repeat(255));
  });

  it.each(['', '00', '0000000105', '00000001ff6161'])('refuses the REQUEST %s', (hex) => {
    expect(() => decodeRequest(Buffer.from(hex, 'hex'))).toThrow(TransportError);
  });

  it.each(['', '05', '056161'])('refuses the name %s', (hex) => {
    expect(() => decodeNamed(Buffer.from(hex, 'hex'))).toThrow(TransportError);
  });
});
