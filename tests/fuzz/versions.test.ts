import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { aliceOwner, createHarness, region, textOf, type Harness } from '../../s3/testing/harness.ts';
import { encoded, openDistributed, openFilesystem, type OpenedBackend } from './backends.ts';
import { ModelVersions, nullVersion, type ListedVersion } from './versions_model.ts';

const key = fc.constantFrom('a', 'a/', 'a/b', 'b', 'é');
/** Which of the key's versions: counted from the newest; beyond them, one of another key. */
const which = fc.option(fc.nat(4), { nil: undefined });
const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant('put' as const), key, body: fc.uint8Array({ maxLength: 20 }) }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('delete' as const), key, which }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('get' as const), key, which }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('list' as const), max: fc.constantFrom(1, 2, 1000) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('versioning' as const),
      to: fc.constantFrom('Enabled' as const, 'Suspended' as const),
    }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

describe.each([
  ['filesystem', openFilesystem, 25],
  ['distributed', openDistributed, 10],
] as const)('versions on the %s backend, against a model of them', (_name, open, runs) => {
  let opened: OpenedBackend;
  let buckets = 0;
  beforeAll(async () => {
    opened = await open();
  });
  afterAll(() => opened.close());

  it('are what the model says after any sequence of requests', async () => {
    const { send } = createHarness({ backend: opened.backend });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 8, maxLength: 40 }), async (steps) => {
        const bucket = `versions-${buckets++}`;
        await opened.backend.createBucket({ bucket, owner: aliceOwner, region });
        const world: World = { bucket, send, model: new ModelVersions() };
        for (const each of steps) await carryOut(world, each);
        expect(await listed(world, 1000)).toEqual(world.model.list());
      }),
      { numRuns: runs },
    );
  }, 300_000);
});

interface World {
  readonly bucket: string;
  readonly send: Harness['send'];
  readonly model: ModelVersions;
}

async function carryOut(world: World, each: Step): Promise<void> {
  const { bucket, send, model } = world;
  switch (each.do) {
    case 'versioning': {
      const body = `<VersioningConfiguration><Status>${each.to}</Status></VersioningConfiguration>`;
      expect((await send({ method: 'PUT', target: `/${bucket}?versioning`, body })).status).toBe(200);
      model.versioning = each.to;
      return;
    }
    case 'put': {
      const answer = await send({
        method: 'PUT',
        target: `/${bucket}/${encoded(each.key)}`,
        body: each.body,
      });
      expect(answer.status).toBe(200);
      model.put(each.key, each.body, madeId(world, answer));
      return;
    }
    case 'get': {
      const id = versionOf(world, each);
      const answer = await send({ target: targetOf(world, each.key, id) });
      const expected = model.get(each.key, id);
      expect([each, answer.status]).toEqual([each, expected.status]);
      const bytes = Buffer.from(await answer.arrayBuffer());
      if (expected.body !== undefined) expect(bytes.equals(expected.body)).toBe(true);
      return;
    }
    case 'delete': {
      const id = versionOf(world, each);
      const answer = await send({ method: 'DELETE', target: targetOf(world, each.key, id) });
      expect([each, answer.status]).toEqual([each, 204]);
      const marker = answer.headers.get('x-amz-delete-marker');
      if (id === undefined) {
        expect(marker).toBe(model.versioning === 'Never' ? null : 'true');
        model.hide(each.key, madeId(world, answer));
      } else {
        const gone = model.remove(each.key, id);
        expect(marker).toBe(gone !== undefined && gone.body === undefined ? 'true' : null);
      }
      return;
    }
    case 'list':
      expect([each, await listed(world, each.max)]).toEqual([each, model.list()]);
  }
}

/** The id of what was made: a new one where versioning is enabled, and only there. */
function madeId({ model }: World, answer: Response): string {
  const id = answer.headers.get('x-amz-version-id');
  if (model.versioning === 'Never') {
    expect(id).toBeNull();
    return nullVersion;
  }
  if (model.versioning === 'Suspended') {
    // S3 names the null version where it makes a marker of it.
    expect([null, nullVersion]).toContain(id);
    return nullVersion;
  }
  expect(id).not.toBe(nullVersion);
  expect(model.list().map((version) => version.id)).not.toContain(id);
  return id ?? '';
}

function versionOf(
  { model }: World,
  asked: { readonly key: string; readonly which: number | undefined },
): string | undefined {
  if (asked.which === undefined) return undefined;
  const elsewhere = model.list().find((version) => version.key !== asked.key && version.id !== nullVersion);
  return model.stackOf(asked.key)[asked.which]?.id ?? elsewhere?.id ?? nullVersion;
}

function targetOf({ bucket }: World, key: string, id: string | undefined): string {
  return `/${bucket}/${encoded(key)}${id === undefined ? '' : `?versionId=${encoded(id)}`}`;
}

/** All pages of it. */
async function listed({ bucket, send }: World, max: number): Promise<ListedVersion[]> {
  const found: ListedVersion[] = [];
  let markers = '';
  do {
    const answer = await send({ target: `/${bucket}?versions&encoding-type=url&max-keys=${max}${markers}` });
    const xml = await answer.text();
    const entries = [...xml.matchAll(/<(Version|DeleteMarker)>(.*?)<\/\1>/gs)];
    expect(entries.length).toBeLessThanOrEqual(max);
    for (const [, element, content = ''] of entries) {
      found.push({
        key: decodeURIComponent(textOf(content, 'Key') ?? ''),
        id: textOf(content, 'VersionId') ?? '',
        marker: element === 'DeleteMarker',
        latest: textOf(content, 'IsLatest') === 'true',
      });
    }
    const nextKey = textOf(xml, 'NextKeyMarker');
    const nextId = textOf(xml, 'NextVersionIdMarker');
    markers =
      nextKey === undefined ? '' : `&key-marker=${nextKey}&version-id-marker=${encoded(nextId ?? '')}`;
  } while (markers !== '');
  return found;
}
