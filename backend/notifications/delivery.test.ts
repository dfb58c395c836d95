import { randomBytes } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { alice, anyone, newBucket, put } from '../../tests/contract/requests.ts';
import { openFixture, type Fixture } from '../engine/testing/fixture.ts';
import type { NotificationRule } from './configuration.ts';
import { DeliveryWorker, type DeliveryOptions } from './delivery_worker.ts';
import type { QueueObservation } from './destination_queue.ts';
import { webhookDestination } from './destinations/webhook.ts';
import { eventObserver } from './event_observer.ts';
import { queuePrefix } from './queue_rows.ts';

const silent = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() };
const origin = { requestId: 'R1', principalId: alice.id, sourceAddress: '127.0.0.9' };

interface Received {
  readonly id: string;
  readonly authorization: string | undefined;
  readonly record: {
    readonly eventName: string;
    readonly s3: { readonly object: Readonly<Record<string, unknown>>; readonly configurationId: string };
  };
}

let fixture: Fixture;
let server: Server;
let received: Received[];
let answerWith: (event: Received) => number;
const workers: DeliveryWorker[] = [];

beforeEach(async () => {
  received = [];
  answerWith = () => 204;
  server = createServer((request, response) => {
    let text = '';
    request.on('data', (chunk: Buffer) => (text += chunk.toString('utf8')));
    request.on('end', () => {
      const { Records } = JSON.parse(text) as { Records: [Received['record']] };
      const event = {
        id: String(request.headers['x-s3d-event-id']),
        authorization: request.headers.authorization,
        record: Records[0],
      };
      received.push(event);
      response.writeHead(answerWith(event)).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  fixture = await openFixture({
    observers: [
      () =>
        eventObserver({ region: 'eu-test-1', destinations: new Set(['hook']), randomBytes, logger: silent }),
    ],
  });
});

afterEach(async () => {
  for (const worker of workers.splice(0)) await worker.close();
  await fixture.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

function deliver(options: Partial<DeliveryOptions> = {}): DeliveryWorker {
  const { port } = server.address() as AddressInfo;
  const worker = new DeliveryWorker({
    state: fixture.state.inner,
    destinations: [
      webhookDestination({ name: 'hook', url: `http://127.0.0.1:${port}/`, authorization: 'Bearer t' }),
    ],
    clock: Date.now,
    randomBytes,
    logger: silent,
    holder: 'test',
    maxQueued: 1000,
    retentionMs: 60_000,
    intervalMs: 10,
    leaseMs: 300,
    backOffMs: { first: 5, longest: 20 },
    ...options,
  });
  workers.push(worker);
  worker.start();
  return worker;
}

async function bucketWith(rules: Partial<NotificationRule>[]): Promise<string> {
  const bucket = await newBucket(fixture.engine);
  const full = rules.map((rule, at) => ({
    id: `rule-${at}`,
    kind: 'queue',
    arn: 'arn:s3d:sqs::hook:webhook',
    events: ['s3:ObjectCreated:*'],
    prefix: '',
    suffix: '',
    ...rule,
  }));
  await fixture.engine.updateBucketSettings({
    bucket,
    authorize: anyone,
    change: () => ({ notification: JSON.stringify(full) }),
  });
  return bucket;
}

async function waiting(): Promise<number> {
  const page = await fixture.state.inner.scan({ table: 'state', prefix: queuePrefix(), limit: 10_000 });
  return page.items.length;
}

describe('event notifications', () => {
  it('reach a webhook in S3’s form, for the events and keys that were asked for', async () => {
    const { engine } = fixture;
    const bucket = await bucketWith([
      { prefix: 'in/', suffix: '.jpg' },
      { events: ['s3:ObjectRemoved:Delete'] },
    ]);
    await put(engine, { bucket, key: 'in/a b+c.jpg' }, 'picture', { origin });
    await put(engine, { bucket, key: 'in/a.txt' }, 'text', { origin });
    await put(engine, { bucket, key: 'out/a.jpg' }, 'other', { origin });
    await engine.deleteObject({ bucket, key: 'in/a b+c.jpg', authorize: anyone, origin });
    deliver();
    await vi.waitFor(async () => expect(await waiting()).toBe(0));
    received.sort((a, b) => a.id.localeCompare(b.id));
    expect(received.map(({ authorization }) => authorization)).toEqual(['Bearer t', 'Bearer t']);
    const [made, removed] = received.map(({ record }) => record);
    expect(made).toMatchObject({
      eventVersion: '2.1',
      awsRegion: 'eu-test-1',
      eventName: 'ObjectCreated:Put',
      userIdentity: { principalId: `AWS:${alice.id}` },
      requestParameters: { sourceIPAddress: '127.0.0.9' },
      responseElements: { 'x-amz-request-id': 'R1' },
      s3: {
        configurationId: 'rule-0',
        bucket: { name: bucket, ownerIdentity: { principalId: alice.id }, arn: `arn:aws:s3:::${bucket}` },
        object: { key: 'in/a+b%2Bc.jpg', size: 7, eTag: expect.stringMatching(/^[0-9a-f]{32}$/) as string },
      },
    });
    expect(removed).toMatchObject({ eventName: 'ObjectRemoved:Delete', s3: { configurationId: 'rule-1' } });
    expect(removed?.s3.object).not.toHaveProperty('size');
    expect(String(removed?.s3.object['sequencer']) > String(made?.s3.object['sequencer'])).toBe(true);
  });

  it('wait where the change is committed, and only there', async () => {
    const bucket = await bucketWith([{}]);
    await put(fixture.engine, { bucket, key: 'a' }, 'x');
    expect(await waiting()).toBe(1);
    const refused = put(fixture.engine, { bucket, key: 'a' }, 'y', { preconditions: { ifNoneMatch: ['*'] } });
    await expect(refused).rejects.toThrow();
    expect(await waiting()).toBe(1);
  });

  it('are tried again until they are acknowledged, and one that never is holds up no other', async () => {
    const bucket = await bucketWith([{}]);
    for (let i = 0; i < 20; i++) await put(fixture.engine, { bucket, key: `k${i}` }, 'x');
    const refusals = new Map<string, number>();
    answerWith = ({ id, record }) => {
      if (record.s3.object['key'] === 'k3') return 500;
      const before = refusals.get(id) ?? 0;
      refusals.set(id, before + 1);
      return before < 1 ? 503 : 200;
    };
    deliver();
    await vi.waitFor(async () => expect(await waiting()).toBe(1), { timeout: 10_000 });
    answerWith = () => 200;
    await vi.waitFor(async () => expect(await waiting()).toBe(0), { timeout: 10_000 });
    const keys = new Set(received.map(({ record }) => record.s3.object['key']));
    expect(keys.size).toBe(20);
  });

  it('survive the gateway that was to deliver them, and come from one gateway at a time', async () => {
    const bucket = await bucketWith([{}]);
    answerWith = () => 500;
    const first = deliver({ backOffMs: { first: 1, longest: 1 } });
    await put(fixture.engine, { bucket, key: 'a' }, 'x');
    await vi.waitFor(() => expect(received.length).toBeGreaterThan(2));
    await first.close();
    const before = received.length;
    expect(await waiting()).toBe(1);
    answerWith = () => 200;
    deliver();
    deliver();
    await vi.waitFor(async () => expect(await waiting()).toBe(0));
    expect(received.length).toBe(before + 1);
    expect(new Set(received.map(({ id }) => id)).size).toBe(1);
  });

  it('beyond what may wait, or too old, are dropped and counted, the oldest first', async () => {
    const bucket = await bucketWith([{}]);
    for (let i = 0; i < 12; i++) await put(fixture.engine, { bucket, key: `k${i}` }, 'x');
    const seen: QueueObservation[] = [];
    const observe = (observation: QueueObservation): void => void seen.push(observation);
    const worker = deliver({ maxQueued: 5, observe });
    await vi.waitFor(async () => expect(await waiting()).toBe(0));
    await worker.close();
    expect(received.map(({ record }) => record.s3.object['key']).sort()).toEqual(
      ['k10', 'k11', 'k7', 'k8', 'k9'].sort(),
    );
    expect(seen.find(({ dropped }) => dropped !== undefined)).toMatchObject({ dropped: 7, queued: 5 });
    await put(fixture.engine, { bucket, key: 'late' }, 'x');
    const count = received.length;
    deliver({ clock: () => Date.now() + 120_000 });
    await vi.waitFor(async () => expect(await waiting()).toBe(0));
    expect(received.length).toBe(count);
  });

  it('of a destination that is gone wait for it, but not for ever', async () => {
    const bucket = await bucketWith([{}]);
    await put(fixture.engine, { bucket, key: 'a' }, 'x');
    const worker = deliver({ destinations: [] });
    await vi.waitFor(() => expect(silent.error).not.toHaveBeenCalled());
    await worker.close();
    expect(await waiting()).toBe(1);
    deliver({ destinations: [], clock: () => Date.now() + 120_000 });
    await vi.waitFor(async () => expect(await waiting()).toBe(0));
    expect(received).toEqual([]);
  });
});
