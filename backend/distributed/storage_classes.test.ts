import { afterEach, expect, it } from 'vitest';
import { randomBytes } from 'node:crypto';
import { decodeLocator } from './locator.ts';
import { chunks, openCluster, type TestCluster } from './testing/cluster.ts';

let cluster: TestCluster | undefined;
afterEach(async () => {
  await cluster?.store.close();
  cluster = undefined;
});

async function collect(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of body) pieces.push(piece);
  return Buffer.concat(pieces);
}

it('gives content of a class that class’s code, and reads all by their locators', async () => {
  cluster = await openCluster(
    { data: 3, parity: 2 },
    { storageClasses: new Map([['REDUCED_REDUNDANCY', { data: 2, parity: 1 }]]) },
  );
  const { store } = cluster;
  const bytes = randomBytes(300_000);
  const write = (storageClass: string) => store.write(randomBytes(32), chunks(bytes), { storageClass });
  const reduced = await write('REDUCED_REDUNDANCY');
  const standard = await write('STANDARD');
  const unknown = await write('GLACIER');
  expect(decodeLocator(reduced.locator)).toMatchObject({ data: 2, parity: 1 });
  expect(decodeLocator(reduced.locator).placement).toHaveLength(3);
  for (const { locator } of [standard, unknown])
    expect(decodeLocator(locator)).toMatchObject({ data: 3, parity: 2 });
  for (const { locator } of [reduced, standard, unknown])
    expect((await collect(await store.read(locator))).equals(bytes)).toBe(true);
});
