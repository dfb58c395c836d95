import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  ContentMissingError,
  type DataStore,
  type Locator,
  type WrittenContent,
} from '../../backend/data_store.ts';
import type { Batch } from '../../s3db/database.ts';
import { patternOf } from './requests.ts';

interface OpenedStore {
  readonly data: DataStore;
  /** Applies what a write wants applied together with the row that names it; without it the suite drops it. */
  readonly commit?: (batch: Batch) => Promise<void>;
  readonly close: () => Promise<void>;
}

/** What every DataStore promises. */
export function dataStoreContract(name: string, open: () => Promise<OpenedStore>): void {
  describe(`${name} as a DataStore`, () => {
    let opened: OpenedStore | undefined;
    beforeAll(async () => {
      opened = await open();
    }, 60_000);
    afterAll(async () => {
      await opened?.close();
    }, 60_000);
    const store = (): OpenedStore => {
      if (opened === undefined) throw new Error('the data store did not open');
      return opened;
    };
    const write = async (
      content: Uint8Array,
      sizes: { known?: boolean; pieceBytes?: number } = {},
    ): Promise<WrittenContent> => {
      const written = await store().data.write(
        new Uint8Array(randomBytes(32)),
        piecesOf(content, sizes.pieceBytes),
        {
          ...(sizes.known === false ? {} : { sizeBytes: content.length }),
        },
      );
      await store().commit?.({ conditions: written.conditions, operations: written.operations });
      return written;
    };

    it.each([0, 1, 1000, 65_535, 65_536, 65_537, 1_048_576, 5_000_001])(
      'gives back %d bytes',
      async (size) => {
        const content = patternOf(size, size + 1);
        for (const known of [true, false]) {
          const { locator, sizeBytes } = await write(content, { known });
          expect(sizeBytes).toBe(size);
          expect(locator.length).toBeLessThan(1024);
          expect((await read(store().data, locator)).equals(content)).toBe(true);
        }
      },
    );

    it('keeps more or fewer bytes than it was told to expect, or refuses them', async () => {
      const content = patternOf(200_000, 2);
      for (const sizeBytes of [0, 10, 150_000, 500_000]) {
        const id = new Uint8Array(randomBytes(32));
        const outcome = await store()
          .data.write(id, piecesOf(content, 70_000), { sizeBytes })
          .then(
            async (written) => (await read(store().data, written.locator)).equals(content),
            () => 'refused',
          );
        expect(outcome).not.toBe(false);
      }
    });

    it('takes the content in pieces of any size, empty ones too', async () => {
      const content = patternOf(300_000, 3);
      for (const pieceBytes of [1777, 65_536, 299_999, 1_000_000]) {
        const { locator } = await write(content, { pieceBytes });
        expect((await read(store().data, locator)).equals(content)).toBe(true);
      }
      async function* withGaps(): AsyncGenerator<Uint8Array> {
        yield new Uint8Array(0);
        yield content.subarray(0, 10);
        yield new Uint8Array(0);
        yield content.subarray(10);
      }
      const written = await store().data.write(new Uint8Array(randomBytes(32)), withGaps(), {});
      expect(written.sizeBytes).toBe(content.length);
      expect((await read(store().data, written.locator)).equals(content)).toBe(true);
    });

    it('does not hold on to pieces that its source uses again', async () => {
      const content = patternOf(1_000_000, 4);
      async function* reusing(): AsyncGenerator<Uint8Array> {
        const buffer = Buffer.alloc(10_000);
        for (let at = 0; at < content.length; at += buffer.length) {
          content.copy(buffer, 0, at);
          yield buffer.subarray(0, Math.min(buffer.length, content.length - at));
        }
      }
      const written = await store().data.write(new Uint8Array(randomBytes(32)), reusing(), {});
      expect((await read(store().data, written.locator)).equals(content)).toBe(true);
    });

    it('reads any range', async () => {
      const content = patternOf(400_000, 5);
      const { locator } = await write(content);
      await fc.assert(
        fc.asyncProperty(
          fc.integer({ min: 0, max: content.length }),
          fc.integer({ min: 0, max: content.length }),
          async (a, b) => {
            const offset = Math.min(a, b);
            const lengthBytes = Math.abs(a - b);
            const got = await read(store().data, locator, { offset, lengthBytes });
            expect(got.equals(content.subarray(offset, offset + lengthBytes))).toBe(true);
          },
        ),
        { numRuns: 40 },
      );
      for (const range of [
        { offset: 0, lengthBytes: content.length + 1 },
        { offset: content.length, lengthBytes: 1 },
        { offset: -1, lengthBytes: 2 },
      ]) {
        await expect(read(store().data, locator, range)).rejects.toThrow();
      }
    });

    it('passes on the error of a body that breaks off, and keeps nothing', async () => {
      const gone = new Error('gone');
      async function* broken(): AsyncGenerator<Uint8Array> {
        yield patternOf(500_000);
        throw gone;
      }
      await expect(store().data.write(new Uint8Array(randomBytes(32)), broken(), {})).rejects.toBe(gone);
    });

    it('stops when its signal aborts, before or while it writes or reads', async () => {
      const reason = new Error('stop');
      const id = new Uint8Array(randomBytes(32));
      await expect(
        store().data.write(id, piecesOf(patternOf(10)), { signal: AbortSignal.abort(reason) }),
      ).rejects.toThrow();
      const aborting = new AbortController();
      let ended = false;
      async function* endless(): AsyncGenerator<Uint8Array> {
        try {
          for (let i = 0; i < 1000; i++) {
            if (i === 5) aborting.abort(reason);
            yield patternOf(100_000);
          }
        } finally {
          ended = true;
        }
      }
      await expect(store().data.write(id, endless(), { signal: aborting.signal })).rejects.toThrow();
      expect(ended).toBe(true);
      const { locator } = await write(patternOf(4_000_000));
      const reading = new AbortController();
      const stream = await store().data.read(locator, { signal: reading.signal });
      await expect(
        (async () => {
          for await (const _ of stream) reading.abort(reason);
        })(),
      ).rejects.toThrow();
    });

    it('lets a reader stop anywhere', async () => {
      const { locator } = await write(patternOf(4_000_000));
      const unread = await store().data.read(locator);
      await unread[Symbol.asyncIterator]().return?.();
      for await (const piece of await store().data.read(locator)) {
        expect(piece.length).toBeGreaterThan(0);
        break;
      }
      expect((await read(store().data, locator)).length).toBe(4_000_000);
    });

    it('serves many at once', async () => {
      const contents = Array.from({ length: 8 }, (_, i) => patternOf(700_000 + i, i + 1));
      const written = await Promise.all(contents.map((content) => write(content)));
      const got = await Promise.all(written.map(({ locator }) => read(store().data, locator)));
      got.forEach((bytes, i) => expect(bytes.equals(contents[i]!)).toBe(true));
    });

    it('forgets what is removed, and only that; removing again is fine', async () => {
      const content = patternOf(200_000, 6);
      const gone = await write(content);
      const kept = await write(content);
      await store().data.remove(gone.locator);
      await store().data.remove(gone.locator);
      await expect(read(store().data, gone.locator)).rejects.toBeInstanceOf(ContentMissingError);
      expect((await read(store().data, kept.locator)).equals(content)).toBe(true);
    });
  });
}

async function* piecesOf(content: Uint8Array, pieceBytes = 50_000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < content.length; at += pieceBytes) yield content.subarray(at, at + pieceBytes);
}

async function read(
  data: DataStore,
  locator: Locator,
  range?: { readonly offset: number; readonly lengthBytes: number },
): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of await data.read(locator, range === undefined ? {} : { range })) {
    pieces.push(Buffer.from(piece));
  }
  return Buffer.concat(pieces);
}
