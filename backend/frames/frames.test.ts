import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Compressor } from '../compression/compressor.ts';
import { ContentDamagedError, type ContentRange } from '../data_store.ts';
import { FrameCipher } from '../encryption/frame_cipher.ts';
import { readFrames } from './frame_reader.ts';
import { FrameWriter } from './frame_writer.ts';
import type { SealedRow } from './sealed_row.ts';

const dataKey = new Uint8Array(32).fill(7);
const contentId = new Uint8Array(32).fill(8);

interface Shape {
  readonly encrypt: boolean;
  readonly compress: boolean;
  readonly announce?: boolean;
  readonly frameBytes?: number;
  readonly id?: Uint8Array;
  readonly key?: Uint8Array;
  /** Length of the pieces that content comes in. */
  readonly piece?: number;
}

interface Stored {
  readonly bytes: Buffer;
  readonly row: SealedRow;
  readonly sizeBytes: number;
}

async function store(content: Uint8Array, shape: Shape): Promise<Stored> {
  const { encrypt, compress, announce = true, frameBytes = 64, id = contentId, key = dataKey } = shape;
  const writer = new FrameWriter({
    frameBytes,
    cipher: encrypt ? new FrameCipher(key, id) : undefined,
    compressor: compress ? new Compressor(3) : undefined,
    sizeBytes: announce ? content.length : undefined,
  });
  const pieces: Buffer[] = [];
  for await (const piece of writer.pass(cut(content, shape.piece ?? 50))) pieces.push(Buffer.from(piece));
  const wrapped = { wrapped: new Uint8Array(60) };
  return {
    bytes: Buffer.concat(pieces),
    row: encrypt ? { ...writer.row, key: wrapped } : writer.row,
    sizeBytes: content.length,
  };
}

/** Every piece is overwritten once the next one is asked for, as a client's body may do that uses its buffer again. */
async function* cut(content: Uint8Array, piece: number): AsyncGenerator<Uint8Array> {
  for await (const bytes of kept(Buffer.from(content), piece)) {
    yield bytes;
    bytes.fill(0xee);
  }
}

/** What a data store reads is the reader's to keep. */
async function* kept(content: Uint8Array, piece: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < content.length; at += piece) yield content.subarray(at, at + piece);
}

async function load(
  stored: Stored,
  range: ContentRange,
  options: { readonly encrypted: boolean; readonly id?: Uint8Array; readonly piece?: number },
): Promise<Buffer> {
  const cipher = options.encrypted ? new FrameCipher(dataKey, options.id ?? contentId) : undefined;
  const stream = await readFrames(
    {
      sizeBytes: stored.sizeBytes,
      row: stored.row,
      cipher,
      read: async ({ offset, lengthBytes }) => {
        if (offset < 0 || lengthBytes < 1) throw new RangeError('an impossible range was asked for');
        return kept(stored.bytes.subarray(offset, offset + lengthBytes), options.piece ?? 37);
      },
    },
    range,
  );
  const pieces: Buffer[] = [];
  for await (const piece of stream) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}

function whole(stored: Stored): ContentRange {
  return { offset: 0, lengthBytes: stored.sizeBytes };
}

/** Some of it shrinks, some doesn't. */
function mixed(sizeBytes: number): Buffer {
  const content = Buffer.alloc(sizeBytes, 'abc');
  for (let at = 1024; at < sizeBytes; at += 2048)
    content.set(randomBytes(Math.min(1024, sizeBytes - at)), at);
  return content;
}

const ways = [
  { encrypt: true, compress: false },
  { encrypt: false, compress: true },
  { encrypt: true, compress: true },
];

describe.each(ways)('frames, %j', ({ encrypt, compress }) => {
  const frameBytes = compress ? 1024 : 64;

  it('give back every range at and around every boundary', async () => {
    for (const frames of [1, 2, 3]) {
      for (const more of [-1, 0, 1]) {
        const content = mixed(frames * frameBytes + more);
        const stored = await store(content, { encrypt, compress, frameBytes });
        const edges = [0, 1, 2, 3].flatMap((n) => [n * frameBytes - 1, n * frameBytes, n * frameBytes + 1]);
        const marks = [...edges, content.length - 1, content.length].filter(
          (n) => n >= 0 && n <= content.length,
        );
        for (const offset of marks) {
          for (const end of marks.filter((n) => n > offset)) {
            const range = { offset, lengthBytes: end - offset };
            expect(await load(stored, range, { encrypted: encrypt })).toEqual(content.subarray(offset, end));
          }
        }
      }
    }
  });

  it('give back any range of any content, however the bytes come', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 80 * frameBytes }),
        fc.integer({ min: 1, max: 2 * frameBytes }),
        fc.integer({ min: 1, max: 500 }),
        fc.boolean(),
        fc.array(fc.tuple(fc.nat(), fc.nat()), { minLength: 1, maxLength: 5 }),
        async (sizeBytes, pieceIn, pieceOut, announce, ranges) => {
          const content = mixed(sizeBytes);
          const stored = await store(content, { encrypt, compress, frameBytes, announce, piece: pieceIn });
          expect(stored.row.storedBytes).toBe(stored.bytes.length);
          for (const [a, b] of ranges) {
            const offset = a % sizeBytes;
            const lengthBytes = 1 + (b % (sizeBytes - offset));
            const got = await load(stored, { offset, lengthBytes }, { encrypted: encrypt, piece: pieceOut });
            expect(got.equals(content.subarray(offset, offset + lengthBytes))).toBe(true);
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  it('of nothing are nothing', async () => {
    for (const announce of [true, false]) {
      const stored = await store(Buffer.alloc(0), { encrypt, compress, announce });
      expect(stored.bytes).toHaveLength(0);
      expect(stored.row.storedBytes).toBe(0);
    }
  });

  it('never give a wrong byte when stored bytes were cut off, added or removed', async () => {
    const content = mixed(5 * frameBytes + 3);
    const stored = await store(content, { encrypt, compress, frameBytes });
    for (const bytes of [
      stored.bytes.subarray(0, -1),
      stored.bytes.subarray(0, frameBytes),
      stored.bytes.subarray(0, 0),
      stored.bytes.subarray(1),
      Buffer.concat([stored.bytes.subarray(0, 10), stored.bytes.subarray(11)]),
    ]) {
      const loading = load({ ...stored, bytes }, whole(stored), { encrypted: encrypt });
      await expect(loading).rejects.toBeInstanceOf(ContentDamagedError);
    }
  });
});

describe('encrypted frames', () => {
  const shape = { encrypt: true, compress: false, frameBytes: 64 };

  it('do not open with a bit flipped anywhere, and let nothing of the frame out before', async () => {
    const content = randomBytes(3 * 64 + 5);
    const stored = await store(content, shape);
    for (let bit = 0; bit < stored.bytes.length * 8; bit += 3) {
      const bytes = Buffer.from(stored.bytes);
      bytes.writeUInt8(bytes.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      const frame = Math.floor((bit >> 3) / 80);
      const out: Buffer[] = [];
      const stream = await readFrames(
        {
          sizeBytes: stored.sizeBytes,
          row: stored.row,
          cipher: new FrameCipher(dataKey, contentId),
          read: async ({ offset, lengthBytes }) => kept(bytes.subarray(offset, offset + lengthBytes), 37),
        },
        whole(stored),
      );
      const reading = (async () => {
        for await (const piece of stream) out.push(Buffer.from(piece));
      })();
      await expect(reading).rejects.toBeInstanceOf(ContentDamagedError);
      expect(Buffer.concat(out)).toEqual(content.subarray(0, frame * 64));
    }
  });

  it("do not open in one another's place", async () => {
    const stored = await store(randomBytes(4 * 64), shape);
    const frame = (n: number): Buffer => stored.bytes.subarray(n * 80, (n + 1) * 80);
    for (const order of [
      [1, 0, 2, 3],
      [0, 2, 1, 3],
      [0, 1, 3, 2],
      [0, 0, 2, 3],
      [3, 1, 2, 3],
    ]) {
      const bytes = Buffer.concat(order.map(frame));
      await expect(load({ ...stored, bytes }, whole(stored), { encrypted: true })).rejects.toBeInstanceOf(
        ContentDamagedError,
      );
    }
  });

  it('do not open as those of other content under the same key', async () => {
    const stored = await store(randomBytes(2 * 64), { ...shape, id: new Uint8Array(32).fill(9) });
    await expect(load(stored, whole(stored), { encrypted: true })).rejects.toBeInstanceOf(
      ContentDamagedError,
    );
  });

  it('do not open as the end where they were none, nor where the end was cut off', async () => {
    const stored = await store(randomBytes(4 * 64), shape);
    for (const frames of [1, 2, 3]) {
      const cutOff = {
        bytes: stored.bytes.subarray(0, frames * 80),
        sizeBytes: frames * 64,
        row: { ...stored.row, storedBytes: frames * 80 },
      };
      await expect(load(cutOff, whole(cutOff), { encrypted: true })).rejects.toBeInstanceOf(
        ContentDamagedError,
      );
    }
  });

  it('hold nothing of what went in', async () => {
    const stored = await store(Buffer.alloc(1000, 'plain text '), shape);
    expect(stored.bytes.includes('plain')).toBe(false);
  });
});

describe('compressed frames', () => {
  const shape = { encrypt: true, compress: true, frameBytes: 1024 };

  it('take less room', async () => {
    const stored = await store(Buffer.alloc(50_000, 'abc'), shape);
    expect(stored.bytes.length).toBeLessThan(5000);
  });

  it('are told where they are by the row while there are few, else by a table behind them', async () => {
    const few = await store(Buffer.alloc(64 * 1024, 'abc'), shape);
    expect(few.row.table).toMatchObject({ lengths: expect.any(Uint8Array) as Uint8Array });
    const many = await store(Buffer.alloc(65 * 1024, 'abc'), shape);
    expect(many.row.table).toEqual({ storedBytes: 65 * 4 + 16 });
    const bytes = Buffer.from(many.bytes);
    bytes.writeUInt8(bytes.readUInt8(bytes.length - 20) ^ 1, bytes.length - 20);
    await expect(
      load({ ...many, bytes }, { offset: 0, lengthBytes: 1 }, { encrypted: true }),
    ).rejects.toBeInstanceOf(ContentDamagedError);
  });

  it('are not tried any more on content that does not shrink, which needs no table then', async () => {
    const stored = await store(Buffer.concat([randomBytes(1024), Buffer.alloc(9000, 'abc')]), shape);
    expect(stored.row.table).toBeUndefined();
    expect(stored.bytes.length).toBe(10_024 + 10 * 16);
  });

  it('cannot come out longer than they are said to be', async () => {
    const stored = await store(Buffer.alloc(1024, 'abc'), { ...shape, encrypt: false });
    const shorter = { ...stored, sizeBytes: 500 };
    await expect(load(shorter, whole(shorter), { encrypted: false })).rejects.toBeInstanceOf(
      ContentDamagedError,
    );
  });
});

describe('a writer of frames', () => {
  it('refuses a body that is not what was announced', async () => {
    for (const sizeBytes of [99, 101, 0, 1000]) {
      const writer = new FrameWriter({
        frameBytes: 64,
        cipher: new FrameCipher(dataKey, contentId),
        sizeBytes,
      });
      const passing = (async () => {
        for await (const piece of writer.pass(cut(new Uint8Array(100), 10)))
          expect(piece.length).toBeGreaterThan(0);
      })();
      await expect(passing).rejects.toThrow('was announced with');
    }
  });
});
