import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Credential } from '../../auth/credentials.ts';
import { staticAccounts, staticCredentials } from '../../auth/static_credentials.ts';
import type { GlobalState } from '../../backend/global_state.ts';
import { LocalState } from '../../backend/local_state.ts';
import { UnavailableError } from '../../s3db/errors.ts';
import { createAdminApp } from '../admin/app.ts';
import type { AdminOptions } from '../admin/options.ts';
import { SealedSecretError, SecretSealer } from './sealed_secret.ts';
import { UserCredentials } from './user_credentials.ts';
import { UserStore } from './user_store.ts';

const configured: Credential = {
  accessKeyId: 'AKCONFIG',
  secretAccessKey: 'secret-of-the-config',
  accountId: '1',
  displayName: 'main',
  admin: true,
  policy: [{ bucket: '*', actions: ['s3:*'] }],
};
const ann = {
  name: 'ann',
  accountId: '2',
  email: 'ann@example.com',
  admin: false,
  policy: [{ bucket: 'logs-*', actions: ['s3:GetObject'] }],
};

describe('users made at run time', () => {
  let directory: string;
  let state: LocalState;
  let nowMs = 0;
  let down = false;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 's3d-users-'));
    state = await LocalState.open(directory);
    down = false;
  });
  afterEach(async () => {
    await state.close();
    await rm(directory, { recursive: true });
  });

  /** What one gateway has; all share the state. */
  function gateway(clusterSecret = Buffer.alloc(32, 7)): { users: UserStore; credentials: UserCredentials } {
    const shared: GlobalState = new Proxy<GlobalState>(state, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name);
        if (typeof value !== 'function') return value;
        return (...args: unknown[]): unknown => {
          if (down) throw new UnavailableError('no leader');
          return Reflect.apply(value as (...all: unknown[]) => unknown, target, args);
        };
      },
    });
    const sealer = new SecretSealer({ clusterSecret, randomBytes });
    const users = new UserStore({
      ...{ state: shared, sealer, clock: Date.now, randomBytes },
      onChange: () => credentials.forget(),
    });
    const credentials = new UserCredentials({
      configured: { credentials: staticCredentials([configured]), accounts: staticAccounts([configured]) },
      ...{ users, sealer, monotonicMs: () => nowMs },
    });
    return { users, credentials };
  }

  it('sign in with the key they were given, as what they were made', async () => {
    const { users, credentials } = gateway();
    const key = await users.add(ann);
    expect(key.accessKeyId).toMatch(/^S3D[A-Z2-7]{17}$/);
    expect(await credentials.find(key.accessKeyId)).toEqual({
      accessKeyId: key.accessKeyId,
      secretAccessKey: key.secretAccessKey,
      accountId: '2',
      displayName: 'ann',
      email: 'ann@example.com',
      admin: false,
      policy: ann.policy,
    });
    expect(await credentials.find('AKCONFIG')).toEqual(configured);
    expect(await credentials.find('S3DNOBODY')).toBe(undefined);
    expect(await credentials.byId('2')).toEqual({ id: '2', displayName: 'ann' });
    expect(await credentials.byEmail('ANN@example.com')).toEqual({ id: '2', displayName: 'ann' });
    expect([await credentials.byId('1'), await credentials.byId('3')]).toEqual([
      { id: '1', displayName: 'main' },
      undefined,
    ]);
    await expect(users.add(ann)).rejects.toMatchObject({ code: 'AlreadyExists' });
  });

  it('lose a key at this gateway at once, at others within five seconds', async () => {
    const here = gateway();
    const there = gateway();
    const { accessKeyId } = await here.users.add(ann);
    expect(await there.credentials.find(accessKeyId)).toBeDefined();
    await here.users.setDisabled(accessKeyId, true);
    expect(await here.credentials.find(accessKeyId)).toBe(undefined);
    expect(await there.credentials.find(accessKeyId)).toBeDefined();
    nowMs += 5_000;
    expect(await there.credentials.find(accessKeyId)).toBe(undefined);
    await here.users.setDisabled(accessKeyId, false);
    expect(await here.credentials.find(accessKeyId)).toBeDefined();
    await here.users.remove('ann');
    expect(await here.credentials.find(accessKeyId)).toBe(undefined);
    await expect(here.users.remove('ann')).rejects.toMatchObject({ code: 'NoSuchUser' });
  });

  it('change keys: another one, a new one in place of the old, at most four', async () => {
    const { users, credentials } = gateway();
    const first = await users.add(ann);
    const second = await users.rotateKey(first.accessKeyId);
    expect(await credentials.find(first.accessKeyId)).toBe(undefined);
    expect((await credentials.find(second.accessKeyId))?.secretAccessKey).toBe(second.secretAccessKey);
    await users.addKey('ann');
    await users.addKey('ann');
    await expect(users.addKey('ann')).rejects.toMatchObject({ code: 'TooManyKeys' });
    await users.removeKey(first.accessKeyId);
    await users.addKey('ann');
    await expect(users.rotateKey('AKCONFIG')).rejects.toMatchObject({ code: 'NoSuchKey' });
    await users.setPolicy('ann', []);
    expect((await credentials.find(second.accessKeyId))?.policy).toEqual([]);
  });

  it('keep their changes when many make them at once', async () => {
    const { users } = gateway();
    await users.add(ann);
    await Promise.all([users.addKey('ann'), users.addKey('ann'), users.addKey('ann')]);
    const listed = [];
    for await (const user of users.list()) listed.push(user.keys.length);
    expect(listed).toEqual([4]);
  });

  it('are known for a minute while the database is away, and no longer', async () => {
    const { users, credentials } = gateway();
    const { accessKeyId } = await users.add(ann);
    const known = await credentials.find(accessKeyId);
    down = true;
    nowMs += 59_000;
    expect(await credentials.find(accessKeyId)).toBe(known);
    await expect(credentials.find('S3DOTHER')).rejects.toMatchObject({ code: 'ServiceUnavailable' });
    expect(await credentials.find('AKCONFIG')).toEqual(configured);
    nowMs += 2_000;
    await expect(credentials.find(accessKeyId)).rejects.toMatchObject({ code: 'ServiceUnavailable' });
  });

  it('have secrets that no file holds, and that another cluster can not open', async () => {
    const { users } = gateway();
    const { accessKeyId, secretAccessKey } = await users.add(ann);
    for await (const user of users.list()) expect(JSON.stringify(user)).not.toContain(secretAccessKey);
    const other = gateway(Buffer.alloc(32, 8));
    await expect(other.credentials.find(accessKeyId)).rejects.toThrow(SealedSecretError);
    await state.close();
    for (const name of await readdir(directory)) {
      const bytes = await readFile(join(directory, name));
      expect([name, bytes.includes(secretAccessKey)]).toEqual([name, false]);
    }
    state = await LocalState.open(directory);
  });

  it('are sealed each for its own key', () => {
    const sealer = new SecretSealer({ clusterSecret: Buffer.alloc(32, 1), randomBytes });
    const sealed = sealer.seal('s', 'A');
    expect(sealer.open(sealed, 'A')).toBe('s');
    expect(() => sealer.open(sealed, 'B')).toThrow(SealedSecretError);
    expect(() => sealer.open(sealed.subarray(1), 'A')).toThrow(SealedSecretError);
    expect(() => sealer.open(new Uint8Array(3), 'A')).toThrow(SealedSecretError);
  });

  it('are managed over the admin listener', async () => {
    const { users, credentials } = gateway();
    const app = createAdminApp({
      users,
      authenticate: () =>
        Promise.resolve({ owner: { id: '1', displayName: 'main' }, payload: { kind: 'unsigned' } }),
      mayReadMetrics: () => false,
      logger: { error: () => undefined },
    } as unknown as AdminOptions);
    const call = async (
      method: string,
      path: string,
      body?: object,
    ): Promise<[number, Record<string, unknown>]> => {
      const init = { method, ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
      const response = await app.request(path, init, { incoming: undefined });
      return [response.status, (await response.json()) as Record<string, unknown>];
    };
    const [made, key] = await call('POST', '/users', { name: 'ann', account_id: '2' });
    const id = String(key['access_key_id']);
    expect([made, (await credentials.find(id))?.secretAccessKey]).toEqual([201, key['secret_access_key']]);
    const [, listing] = await call('GET', '/users');
    expect(listing).toMatchObject({
      users: [{ name: 'ann', account_id: '2', keys: [{ access_key_id: id }] }],
    });
    expect(JSON.stringify(listing)).not.toContain(String(key['secret_access_key']));
    expect((await call('POST', '/users', { name: 'ann', account_id: '2' }))[0]).toBe(409);
    for (const body of [
      { name: 'a b', account_id: '2' },
      { name: 'x' },
      { name: 'x', account_id: 'a:b' },
      {},
    ]) {
      expect((await call('POST', '/users', body))[0]).toBe(400);
    }
    expect((await call('POST', `/keys/${id}/disable`))[0]).toBe(200);
    expect(await credentials.find(id)).toBe(undefined);
    expect((await call('POST', `/keys/${id}/enable`))[0]).toBe(200);
    expect((await call('POST', `/keys/${id}/rotate`))[0]).toBe(201);
    expect((await call('POST', '/users/ann/policy', { policy: [] }))[0]).toBe(200);
    expect((await call('POST', '/users/ann/keys'))[0]).toBe(201);
    expect((await call('DELETE', `/keys/${id}`))[0]).toBe(200);
    expect((await call('DELETE', '/users/ann'))[0]).toBe(200);
    expect((await call('DELETE', '/users/ann'))[0]).toBe(404);
    expect((await call('POST', '/keys/NONE/rotate'))[0]).toBe(404);
  });
});
