import { createHash, randomBytes } from 'node:crypto';

import { describe, expect, it } from 'vitest';

import { BufferPool } from './buffer_pool.ts';
import { get, openCluster, put } from './testing/cluster.ts';

const mib = 1024 * 1024;

describe('BufferPool', () => {
  it('gives again what it was given, by size, and keeps a bounded amount', () => {
    const pool = new BufferPool();
    const buffer = pool.take(mib);
    expect(buffer.byteLength).toBe(mib);
    pool.give(buffer.buffer);
    expect(pool.take(mib / 2).buffer).not.toBe(buffer.buffer);
    expect(pool.take(mib).buffer).toBe(buffer.buffer);
    expect(pool.take(mib).buffer).not.toBe(buffer.buffer);
    const many = Array.from({ length: 80 }, () => pool.take(mib));
    for (const each of many) pool.give(each.buffer);
    const again = Array.from({ length: 80 }, () => pool.take(mib));
    expect(again.filter((each) => many.some((given) => given.buffer === each.buffer)).length).toBe(64);
    const small = pool.take(100);
    pool.give(small.buffer);
    expect(pool.take(100).buffer).not.toBe(small.buffer);
  });

  it('never shows one write the bytes of another, while some fail and some are replaced', async () => {
    const cluster = await openCluster({ data: 3, parity: 2 }, { count: 7 });
    const written: { readonly locator: Uint8Array; readonly hash: string }[] = [];
    const hashOf = (bytes: Uint8Array): string => createHash('sha1').update(bytes).digest('hex');
    for (let round = 0; round < 12; round += 1) {
      const node = cluster.nodes[round % 7]!;
      if (round % 3 === 1) node.onPut = { kind: 'stall', afterBytes: 262_144 };
      if (round % 3 === 2) node.onPut = { kind: 'fail', afterBytes: 300_000 };
      await Promise.all(
        Array.from({ length: 6 }, async (_, i) => {
          const bytes = randomBytes(((round * 6 + i) % 9) * 786_432 + i * 1000 + 1);
          const { locator } = await put(cluster.store, bytes);
          written.push({ locator, hash: hashOf(bytes) });
        }),
      );
      for (const each of cluster.nodes) each.resume();
    }
    for (const { locator, hash } of written) expect(hashOf(await get(cluster.store, locator))).toBe(hash);
    await cluster.store.close();
  });
});
