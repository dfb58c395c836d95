import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { anyone, newBucket, put, refusal } from '../../tests/contract/requests.ts';
import type { Engine, EngineOptions } from '../engine/engine.ts';
import { openFixture, type Fixture } from '../engine/testing/fixture.ts';
import { quotaText, type Quota } from './quota.ts';
import { QuotaObserver } from './quota_observer.ts';
import { readUsages } from './read_usage.ts';
import { kindOfUsage, usagePrefix, type Usage } from './usage_rows.ts';
import { UsageWorker } from './usage_worker.ts';

const observing: Partial<EngineOptions> = {
  observers: [(ports) => new QuotaObserver({ ...ports, randomBytes }).observe],
};
let fixture: Fixture;
const workers: UsageWorker[] = [];
const silent = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() };

beforeEach(async () => {
  fixture = await openFixture(observing);
});
afterEach(async () => {
  for (const worker of workers.splice(0)) await worker.close();
  await fixture.close();
});

function fold(): void {
  const worker = new UsageWorker({
    state: fixture.state.inner,
    logger: silent,
    clock: Date.now,
    randomBytes,
    holder: 'test',
    intervalMs: 5,
    leaseMs: 200,
  });
  workers.push(worker);
  worker.start();
}

async function usageOf(bucket: string): Promise<Omit<Usage, 'bucket'> | undefined> {
  const usages = await readUsages(fixture.state.inner, { maxRows: 100_000 });
  const found = usages.find((usage) => usage.bucket === bucket);
  return found === undefined ? undefined : { bytes: found.bytes, versions: found.versions };
}

async function kinds(): Promise<string[]> {
  const page = await fixture.state.inner.scan({ table: 'state', prefix: usagePrefix(), limit: 10_000 });
  return page.items.map(({ key }) => kindOfUsage(key));
}

async function limit(bucket: string, quota: Quota): Promise<void> {
  const change = () => ({ quota: quotaText(quota) });
  await fixture.engine.updateBucketSettings({ bucket, authorize: anyone, change });
}

describe('what buckets hold', () => {
  it('is counted with every change, and folded into one row', async () => {
    const { engine } = fixture;
    const bucket = await newBucket(engine);
    await put(engine, { bucket, key: 'a' }, 'four');
    await put(engine, { bucket, key: 'a' }, 'seventy');
    await put(engine, { bucket, key: 'b' }, 'x');
    expect(await usageOf(bucket)).toEqual({ bytes: 8, versions: 2 });
    fold();
    await vi.waitFor(async () => expect(await kinds()).toEqual(['total']));
    expect(await usageOf(bucket)).toEqual({ bytes: 8, versions: 2 });
    await engine.deleteObject({ bucket, key: 'a', authorize: anyone });
    expect(await usageOf(bucket)).toEqual({ bytes: 1, versions: 1 });
    await engine.deleteObject({ bucket, key: 'b', authorize: anyone });
    await vi.waitFor(async () => expect(await kinds()).toEqual([]));
  });

  it('stays exact while many write and several fold at once', async () => {
    const { engine } = fixture;
    const bucket = await newBucket(engine);
    fold();
    fold();
    const writers = Array.from({ length: 4 }, async (_, writer) => {
      for (let i = 0; i < 30; i++) {
        const key = `${writer}-${i % 7}`;
        if (i % 5 === 4) await engine.deleteObject({ bucket, key, authorize: anyone });
        else await put(engine, { bucket, key }, 'x'.repeat(i));
      }
    });
    await Promise.all(writers);
    const page = await engine.listObjects({ bucket, prefix: '', maxKeys: 1000, authorize: anyone });
    const bytes = page.objects.reduce((sum, object) => sum + object.sizeBytes, 0);
    await vi.waitFor(async () => expect(await kinds()).toEqual(['total']));
    expect(await usageOf(bucket)).toEqual({ bytes, versions: page.objects.length });
  });
});

describe('quotas', () => {
  it('refuse what would be too much, and take what makes room', async () => {
    const { engine, data } = fixture;
    const bucket = await newBucket(engine);
    await put(engine, { bucket, key: 'before' }, 'x'.repeat(60));
    await limit(bucket, { maxBytes: 100, maxObjects: 3 });
    await put(engine, { bucket, key: 'a' }, 'x'.repeat(40));
    const live = data.live.size;
    const error = await refusal(put(engine, { bucket, key: 'b' }, 'x'), 'QuotaExceeded');
    expect(error.details).toEqual({ MaxBytes: '100' });
    expect(data.live.size).toBe(live);
    await put(engine, { bucket, key: 'empty' }, '');
    expect((await refusal(put(engine, { bucket, key: 'more' }, ''), 'QuotaExceeded')).details).toEqual({
      MaxObjects: '3',
    });
    await put(engine, { bucket, key: 'a' }, 'x'.repeat(39));
    await engine.deleteObject({ bucket, key: 'empty', authorize: anyone });
    await put(engine, { bucket, key: 'b' }, 'x');
    await limit(bucket, {});
    await put(engine, { bucket, key: 'c' }, 'x'.repeat(1000));
  });

  it('are not overrun by writers on several gateways at once', async () => {
    const bucket = await newBucket(fixture.engine);
    await limit(bucket, { maxObjects: 12 });
    const gateways: Engine[] = [fixture.engine, await fixture.another(), await fixture.another()];
    fold();
    const outcomes = await Promise.allSettled(
      Array.from({ length: 30 }, (_, i) => put(gateways[i % 3] as Engine, { bucket, key: `k${i}` }, 'x')),
    );
    const taken = outcomes.filter((outcome) => outcome.status === 'fulfilled').length;
    const page = await fixture.engine.listObjects({ bucket, prefix: '', maxKeys: 100, authorize: anyone });
    expect(page.objects.length).toBe(taken);
    // Each gateway lets one through freely; the others may not see that of the two others yet.
    expect(taken).toBeLessThanOrEqual(14);
    for (let i = 0; i < 12; i++) {
      await put(fixture.engine, { bucket, key: `more${i}` }, 'x').catch(() => undefined);
    }
    const full = await fixture.engine.listObjects({ bucket, prefix: '', maxKeys: 100, authorize: anyone });
    expect(full.objects.length).toBe(Math.max(12, taken));
  });
});
