import { createHash } from 'node:crypto';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import type { Backend } from '../../backend/backend.ts';
import { anyone, newBucket, patternOf, put } from './requests.ts';

const mebibyte = 1024 * 1024;
const sizeBytes = 256 * mebibyte;
const allowedBytes = 96 * mebibyte;

/** Full garbage collection, without which buffers nobody holds would count. */
const collectGarbage = exposeGarbageCollection();

function exposeGarbageCollection(): () => void {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as () => void;
}

/** Heap and buffers beyond it that are really held, as they grow while `work` runs. */
async function growthOf(work: (look: () => void) => Promise<void>): Promise<number> {
  const held = (): number => {
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return heapUsed + arrayBuffers;
  };
  collectGarbage();
  const before = held();
  let most = before;
  await work(() => {
    // Collecting takes a while: only growth that would matter is looked into.
    if (held() - most < allowedBytes / 8) return;
    collectGarbage();
    most = Math.max(most, held());
  });
  return most - before;
}

export function memoryCases(backend: () => Backend): void {
  describe('memory', () => {
    it('is bounded whatever the size of the object', { timeout: 120_000 }, async () => {
      const where = { bucket: await newBucket(backend()), key: 'big' };
      const piece = patternOf(mebibyte);
      const sent = createHash('sha1');
      const putGrowth = await growthOf(async (look) => {
        async function* stream(): AsyncGenerator<Uint8Array> {
          for (let i = 0; i < sizeBytes / mebibyte; i++) {
            // A buffer of its own each time: one that is held shows.
            const fresh = Buffer.from(piece);
            fresh.writeUInt32LE(i);
            sent.update(fresh);
            look();
            yield fresh;
          }
        }
        await put(backend(), where, '', { body: { stream: stream(), sizeBytes } });
      });
      const received = createHash('sha1');
      const getGrowth = await growthOf(async (look) => {
        const read = await backend().getObject({ ...where, authorize: anyone });
        for await (const bytes of read.body) {
          received.update(bytes);
          look();
          // A slow reader: whoever reads ahead without bound shows.
          await new Promise(setImmediate);
        }
      });
      expect(received.digest('hex')).toBe(sent.digest('hex'));
      expect(putGrowth).toBeLessThan(allowedBytes);
      expect(getGrowth).toBeLessThan(allowedBytes);
      await backend().deleteObject({ ...where, authorize: anyone });
    });
  });
}
