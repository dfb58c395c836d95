import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Backend, ListObjectsRequest, ObjectPage } from '../../backend/backend.ts';
import { alice, anyone, keysOf, md5, newBucket, put } from './requests.ts';

/** What S3 lists of a set of keys, said in the plainest way. */
function modelPage(
  keys: readonly string[],
  request: Pick<ListObjectsRequest, 'prefix' | 'delimiter' | 'startAfter' | 'maxKeys'>,
): { keys: string[]; prefixes: string[]; next: string | undefined } {
  const { prefix, delimiter, startAfter, maxKeys } = request;
  const page: { keys: string[]; prefixes: string[] } = { keys: [], prefixes: [] };
  let last: string | undefined;
  for (const key of [...new Set(keys)].sort(byBytes)) {
    if (!key.startsWith(prefix)) continue;
    const at = delimiter === undefined || delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length);
    const common = at < 0 ? undefined : key.slice(0, at + (delimiter ?? '').length);
    if (startAfter !== undefined && startAfter !== '') {
      if (byBytes(key, startAfter) <= 0 || common === startAfter) continue;
    }
    if (common !== undefined && page.prefixes.includes(common)) continue;
    if (page.keys.length + page.prefixes.length === maxKeys) return { ...page, next: last };
    if (common === undefined) page.keys.push(key);
    else page.prefixes.push(common);
    last = common ?? key;
  }
  return { ...page, next: undefined };
}

function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

const letters = fc.constantFrom('a', 'b', '/', '/', '-', '0', '\u0000', 'é', '\u{1F600}', '\uFF5E', '.');
const text = fc.string({ unit: letters, minLength: 0, maxLength: 6 });
const keys = fc.uniqueArray(fc.string({ unit: letters, minLength: 1, maxLength: 6 }), { maxLength: 12 });

export function listingCases(backend: () => Backend): void {
  describe('listings', () => {
    const list = async (bucket: string, more: Partial<ListObjectsRequest> = {}): Promise<ObjectPage> =>
      backend().listObjects({ bucket, prefix: '', maxKeys: 1000, authorize: anyone, ...more });

    it('show what a summary needs', async () => {
      const bucket = await newBucket(backend());
      const { lastModifiedMs } = await put(backend(), { bucket, key: 'k' }, 'content');
      expect((await list(bucket)).objects).toEqual([
        {
          key: 'k',
          sizeBytes: 7,
          etag: md5('content'),
          lastModifiedMs,
          owner: alice,
          storageClass: 'STANDARD',
          checksum: { algorithm: 'CRC64NVME', type: 'FULL_OBJECT' },
        },
      ]);
    });

    it('come in order of UTF-8 bytes, not of UTF-16', async () => {
      const bucket = await newBucket(backend());
      for (const key of ['\u{1F600}', '\uFF5E', 'z', 'a/', 'a', 'a-', 'a0']) {
        await put(backend(), { bucket, key }, '');
      }
      expect(await keysOf(backend(), bucket)).toEqual(['a', 'a-', 'a/', 'a0', 'z', '\uFF5E', '\u{1F600}']);
    });

    it('are empty for max-keys 0, and do not claim that there is more', async () => {
      const bucket = await newBucket(backend());
      await put(backend(), { bucket, key: 'k' }, '');
      expect(await list(bucket, { maxKeys: 0 })).toEqual({ objects: [], prefixes: [] });
    });

    it('agree with a plain model, page by page', async () => {
      const shared = await newBucket(backend());
      await fc.assert(
        fc.asyncProperty(
          keys,
          text,
          fc.option(fc.constantFrom('/', '-', 'a/', '\u0000', 'é', ''), { nil: undefined }),
          fc.option(text, { nil: undefined }),
          fc.integer({ min: 1, max: 5 }),
          async (all, prefix, delimiter, startAfter, maxKeys) => {
            await Promise.all(all.map((key) => put(backend(), { bucket: shared, key }, '')));
            try {
              let after = startAfter;
              for (;;) {
                const asked = {
                  prefix,
                  maxKeys,
                  ...(delimiter === undefined ? {} : { delimiter }),
                  ...(after === undefined ? {} : { startAfter: after }),
                };
                const page = await list(shared, asked);
                const expected = modelPage(all, asked);
                expect(page.objects.map(({ key }) => key)).toEqual(expected.keys);
                expect(page.prefixes).toEqual(expected.prefixes);
                expect(page.next).toBe(expected.next);
                if (page.next === undefined) break;
                after = page.next;
              }
            } finally {
              await Promise.all(
                all.map((key) => backend().deleteObject({ bucket: shared, key, authorize: anyone })),
              );
            }
          },
        ),
        { numRuns: 60 },
      );
    });

    it('of versions show every object once, as version null, with the pages of listings of objects', async () => {
      const bucket = await newBucket(backend());
      const all = ['a', 'a/b', 'a/c', 'b\u0000', 'b\u0000/x', 'b/', 'c'];
      for (const key of all) await put(backend(), { bucket, key }, key);
      await put(backend(), { bucket, key: 'c' }, 'again');
      for (const delimiter of [undefined, '/', 'a', '\u0000', '\u00ff']) {
        for (const maxKeys of [1, 2, 1000]) {
          const seen: { keys: string[]; prefixes: string[] } = { keys: [], prefixes: [] };
          let markers: { keyMarker?: string; versionIdMarker?: string } = {};
          for (;;) {
            const page = await backend().listObjectVersions({
              bucket,
              prefix: '',
              maxKeys,
              authorize: anyone,
              ...(delimiter === undefined ? {} : { delimiter }),
              ...markers,
            });
            seen.keys.push(...page.versions.map(({ key }) => key));
            seen.prefixes.push(...page.prefixes);
            for (const version of page.versions) {
              expect(version).toMatchObject({ versionId: 'null', isLatest: true, deleteMarker: false });
            }
            if (page.nextKeyMarker === undefined) break;
            markers = {
              keyMarker: page.nextKeyMarker,
              ...(page.nextVersionIdMarker === undefined
                ? {}
                : { versionIdMarker: page.nextVersionIdMarker }),
            };
          }
          const expected = modelPage(all, {
            prefix: '',
            maxKeys: 1000,
            ...(delimiter === undefined ? {} : { delimiter }),
          });
          expect(seen).toEqual({ keys: expected.keys, prefixes: expected.prefixes });
        }
      }
    });
  });
}

export function neighbourCases(backend: () => Backend): void {
  describe('listings of neighbours', () => {
    it('see neither other buckets nor other names with the same start', async () => {
      const bucket = await newBucket(backend());
      const longer = `${bucket}1`;
      await backend().createBucket({ bucket: longer, owner: alice, region: 'r' });
      await put(backend(), { bucket: longer, key: 'k' }, '');
      expect(await keysOf(backend(), bucket)).toEqual([]);
      const versions = await backend().listObjectVersions({
        bucket,
        prefix: '',
        maxKeys: 10,
        authorize: anyone,
      });
      expect(versions.versions).toEqual([]);
      await backend().deleteBucket({ bucket, authorize: anyone });
    });
  });
}
