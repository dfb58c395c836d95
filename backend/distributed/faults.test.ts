import { randomBytes } from 'node:crypto';

import fc from 'fast-check';
import { expect, it } from 'vitest';

import { UnavailableError } from '../../s3db/errors.ts';
import { ContentDamagedError, ContentMissingError } from '../data_store.ts';
import { decodeLocator } from './locator.ts';
import { decodeRepairRow } from './repair_rows.ts';
import { shardLength } from './stripes.ts';
import { chunks, openCluster, quickTiming } from './testing/cluster.ts';
import type { TestCluster } from './testing/cluster.ts';
import type { MemoryNode } from './testing/memory_node.ts';

const stripe = 3 * 256 * 1024;
const count = 7;
const [data, parity] = [3, 2];

type Trouble =
  | { readonly kind: 'put' | 'get'; readonly how: 'fail' | 'stall'; readonly afterBytes: number }
  | { readonly kind: 'stored' | 'delete'; readonly how: 'fail' | 'stall' }
  | { readonly kind: 'state'; readonly how: 'suspect' | 'down' };

const how = fc.constantFrom('fail' as const, 'stall' as const);
const trouble: fc.Arbitrary<Trouble> = fc.oneof(
  fc.record({
    kind: fc.constantFrom('put' as const, 'get' as const),
    how,
    afterBytes: fc.constantFrom(0, 1, 100_000, 262_144, 600_000),
  }),
  fc.record({ kind: fc.constantFrom('stored' as const, 'delete' as const), how }),
  fc.record({
    kind: fc.constant('state' as const),
    how: fc.constantFrom('suspect' as const, 'down' as const),
  }),
);
const troubles = fc.dictionary(fc.constantFrom('0', '1', '2', '3', '4', '5', '6'), trouble, { maxKeys: 4 });
const size = fc.oneof(
  fc.constantFrom(1, stripe, stripe + 1, 3 * stripe - 1, 11 * stripe),
  fc.nat(9 * stripe).map((n) => n + 1),
);

function afflict(cluster: TestCluster, ills: Readonly<Record<string, Trouble>>): void {
  for (const [id, ill] of Object.entries(ills)) {
    const node = cluster.nodes[Number(id)]!;
    if (ill.kind === 'put') node.onPut = { kind: ill.how, afterBytes: ill.afterBytes };
    else if (ill.kind === 'get') node.onGet = { kind: ill.how, afterBytes: ill.afterBytes };
    else if (ill.kind === 'state') node.current = ill.how;
    else if (ill.kind === 'stored') node.onStored = ill.how;
    else node.onDelete = ill.how;
  }
}

function heal(cluster: TestCluster): void {
  for (const node of cluster.nodes) {
    node.current = 'up';
    node.resume();
  }
}

function shardOf(node: MemoryNode | undefined, contentId: Uint8Array, index: number): Buffer | undefined {
  const name = `${Buffer.from(contentId).toString('hex')}/${String(index).padStart(3, '0')}`;
  const stored = node?.shards.get(name);
  return stored === undefined ? undefined : Buffer.concat(stored.blocks);
}

/** What comes out before the end or the error. */
async function drain(
  reading: Promise<AsyncIterable<Uint8Array>>,
): Promise<{ bytes: Buffer; error?: unknown }> {
  const parts: Uint8Array[] = [];
  try {
    for await (const part of await reading) parts.push(part);
  } catch (error) {
    return { bytes: Buffer.concat(parts), error };
  }
  return { bytes: Buffer.concat(parts) };
}

it(
  'whatever nodes do, what is acknowledged is whole and what is read is right',
  { timeout: 120_000 },
  async () => {
    await fc.assert(
      fc.asyncProperty(
        size,
        troubles,
        troubles,
        fc.uniqueArray(fc.nat(4), { maxLength: 2 }),
        async (bytes, w, r, lost) => {
          const cluster = await openCluster(
            { data, parity },
            { count, timing: { ...quickTiming, stallMs: 120, callMs: 150 } },
          );
          try {
            const content = randomBytes(bytes);
            const contentId = randomBytes(32);
            afflict(cluster, w);
            const written = await cluster.store
              .write(contentId, chunks(content), { sizeBytes: bytes })
              .catch((error: unknown) => {
                expect(error).toBeInstanceOf(UnavailableError);
                return undefined;
              });
            heal(cluster);
            await expect
              .poll(() => cluster.nodes.every((node) => node.active === 0), { timeout: 3000 })
              .toBe(true);
            if (written === undefined) {
              // Only a node that refused the delete, or answered only after it was given up, may keep something.
              const held = cluster.nodes
                .filter((node) => node.shards.size > 0)
                .map((node) => String(node.id));
              for (const id of held) expect(w[id]?.kind === 'delete' || w[id]?.kind === 'stored').toBe(true);
              return;
            }
            const layout = decodeLocator(written.locator);
            const missing = written.operations.flatMap((operation) =>
              operation.type === 'put' ? decodeRepairRow(operation.value).missing : [],
            );
            expect(data + parity - missing.length).toBeGreaterThanOrEqual(data + 1);
            expect(new Set(layout.placement).size).toBe(data + parity);
            layout.placement.forEach((id, index) => {
              if (missing.includes(index)) return;
              const shard = shardOf(cluster.nodes[id ?? -1], contentId, index);
              expect(shard?.byteLength).toBe(shardLength(layout));
            });

            afflict(cluster, r);
            const gone = lost.filter((index) => !missing.includes(index)).slice(0, parity - missing.length);
            for (const index of gone) cluster.nodes[layout.placement[index]!]!.shards.clear();
            const unreadable = new Set([...missing, ...gone]);
            layout.placement.forEach((id, index) => {
              if (r[String(id)]?.kind === 'get') unreadable.add(index);
            });
            const got = await drain(cluster.store.read(written.locator));
            expect(got.bytes.equals(content.subarray(0, got.bytes.byteLength))).toBe(true);
            if (got.error === undefined) expect(got.bytes.byteLength).toBe(bytes);
            else {
              expect(unreadable.size).toBeGreaterThan(parity);
              expect(
                got.error instanceof UnavailableError ||
                  got.error instanceof ContentDamagedError ||
                  got.error instanceof ContentMissingError,
              ).toBe(true);
            }
          } finally {
            heal(cluster);
            await cluster.store.close();
          }
        },
      ),
      { numRuns: 40 },
    );
  },
);
