import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { anyone } from '../../tests/contract/requests.ts';
import { UnavailableError } from '../../s3db/errors.ts';
import { openFixture, type Fixture } from './testing/fixture.ts';

describe('reading a target', () => {
  let fixture: Fixture;
  const unhandled: unknown[] = [];
  const note = (reason: unknown): void => void unhandled.push(reason);

  beforeEach(async () => {
    process.on('unhandledRejection', note);
    fixture = await openFixture();
  });
  afterEach(async () => {
    await fixture.close();
    process.off('unhandledRejection', note);
  });

  it('answers ServiceUnavailable, and leaves no rejection to nobody, while the database does not answer', async () => {
    fixture.state.onGet = (table) =>
      table === 'buckets' || table === 'objects'
        ? Promise.reject(new UnavailableError('no leader'))
        : Promise.resolve();
    const where = { bucket: 'b', key: 'k', authorize: anyone };
    await expect(fixture.engine.headObject(where)).rejects.toMatchObject({ code: 'ServiceUnavailable' });
    await expect(fixture.engine.deleteObject(where)).rejects.toMatchObject({ code: 'ServiceUnavailable' });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(unhandled).toEqual([]);
  });
});
