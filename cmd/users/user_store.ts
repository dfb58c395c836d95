import type { GlobalState } from '../../backend/global_state.ts';
import { scanPages } from '../../backend/state_rows.ts';
import type { Operation } from '../../s3db/database.ts';
import { ConditionFailedError } from '../../s3db/errors.ts';
import type { PolicyGrant } from '../../auth/credentials.ts';
import type { SecretSealer } from './sealed_secret.ts';
import { accessKeyKey, decodeUser, encodeUser, userKey, userPrefix, type UserRow } from './user_rows.ts';

const maxAttempts = 8;
const maxKeys = 4;
const usersPerScan = 1000;

/** Says to an administrator why a change isn't made. */
export class UserRefusedError extends Error {
  override readonly name = 'UserRefusedError';
  readonly code: 'AlreadyExists' | 'NoSuchUser' | 'NoSuchKey' | 'TooManyKeys' | 'Busy';
  constructor(code: UserRefusedError['code'], message: string) {
    super(message);
    this.code = code;
  }
}

export interface NewUser {
  readonly name: string;
  readonly accountId: string;
  readonly email?: string | undefined;
  readonly admin: boolean;
  readonly policy: readonly PolicyGrant[];
}

/** A pair that was just made: the only time that the secret is shown. */
export interface NewKey {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

interface UserStoreOptions {
  readonly state: GlobalState;
  readonly sealer: SecretSealer;
  readonly clock: () => number;
  readonly randomBytes: (length: number) => Uint8Array;
  /** Called after every change that was made here. */
  readonly onChange: () => void;
}

/** Users and keys that are made while the cluster runs, in the table `users`. Every change is one atomic batch. */
export class UserStore {
  readonly #options: UserStoreOptions;

  constructor(options: UserStoreOptions) {
    this.#options = options;
  }

  /** All users in order of their names. */
  async *list(): AsyncGenerator<UserRow> {
    for await (const page of scanPages(this.#options.state, {
      table: 'users',
      prefix: userPrefix,
      limit: usersPerScan,
    })) {
      for (const { value } of page.items) yield decodeUser(value);
    }
  }

  async byKey(accessKeyId: string): Promise<UserRow | undefined> {
    const name = await this.#options.state.get('users', accessKeyKey(accessKeyId));
    if (name === undefined) return undefined;
    const bytes = await this.#options.state.get('users', userKey(Buffer.from(name).toString('utf8')));
    return bytes === undefined ? undefined : decodeUser(bytes);
  }

  /** @throws UserRefusedError AlreadyExists */
  async add(user: NewUser): Promise<NewKey> {
    const { pair, stored } = this.#mint();
    const { name, accountId, email, admin } = user;
    const row: UserRow = {
      name,
      accountId,
      ...(email === undefined ? {} : { email }),
      admin,
      policy: user.policy.map(({ bucket, actions }) => ({ bucket, actions: [...actions] })),
      keys: [stored],
    };
    try {
      await this.#options.state.batch({
        conditions: [
          { table: 'users', key: userKey(name), exists: false },
          { table: 'users', key: accessKeyKey(pair.accessKeyId), exists: false },
        ],
        operations: [putUser(row), putKey(pair.accessKeyId, name)],
      });
    } catch (error) {
      if (!(error instanceof ConditionFailedError)) throw error;
      throw new UserRefusedError('AlreadyExists', `there is a user '${name}' already`);
    }
    this.#options.onChange();
    return pair;
  }

  /** @throws UserRefusedError NoSuchUser */
  async remove(name: string): Promise<void> {
    await this.#change(name, (user) => ({
      operations: [
        { type: 'delete', table: 'users', key: userKey(name) },
        ...user.keys.map((key) => dropKey(key.accessKeyId)),
      ],
    }));
  }

  /** @throws UserRefusedError NoSuchUser */
  async setPolicy(name: string, policy: readonly PolicyGrant[]): Promise<void> {
    await this.#change(name, (user) => ({
      operations: [
        putUser({
          ...user,
          policy: policy.map(({ bucket, actions }) => ({ bucket, actions: [...actions] })),
        }),
      ],
    }));
  }

  /** @throws UserRefusedError NoSuchUser, TooManyKeys */
  async addKey(name: string): Promise<NewKey> {
    const { pair, stored } = this.#mint();
    await this.#change(name, (user) => ({
      operations: [putUser({ ...user, keys: withKey(user, stored) }), putKey(pair.accessKeyId, name)],
    }));
    return pair;
  }

  /** Makes another pair for the key's user and disables this one. @throws UserRefusedError NoSuchKey, TooManyKeys */
  async rotateKey(accessKeyId: string): Promise<NewKey> {
    const { pair, stored } = this.#mint();
    await this.#changeOfKey(accessKeyId, (user) => ({
      operations: [
        putUser({ ...user, keys: disabling(withKey(user, stored), { accessKeyId, disabled: true }) }),
        putKey(pair.accessKeyId, user.name),
      ],
    }));
    return pair;
  }

  /** @throws UserRefusedError NoSuchKey */
  async setDisabled(accessKeyId: string, disabled: boolean): Promise<void> {
    await this.#changeOfKey(accessKeyId, (user) => ({
      operations: [putUser({ ...user, keys: disabling(user.keys, { accessKeyId, disabled }) })],
    }));
  }

  /** @throws UserRefusedError NoSuchKey */
  async removeKey(accessKeyId: string): Promise<void> {
    await this.#changeOfKey(accessKeyId, (user) => ({
      operations: [
        putUser({ ...user, keys: user.keys.filter((key) => key.accessKeyId !== accessKeyId) }),
        dropKey(accessKeyId),
      ],
    }));
  }

  async #changeOfKey(
    accessKeyId: string,
    change: (user: UserRow) => { readonly operations: readonly Operation[] },
  ): Promise<void> {
    const user = await this.byKey(accessKeyId);
    const refuse = (): never => {
      throw new UserRefusedError(
        'NoSuchKey',
        `no key '${accessKeyId}' was made while running (keys of the config are changed there)`,
      );
    };
    if (user === undefined) return refuse();
    await this.#change(user.name, (now) =>
      now.keys.some((key) => key.accessKeyId === accessKeyId) ? change(now) : refuse(),
    );
  }

  async #change(
    name: string,
    change: (user: UserRow) => { readonly operations: readonly Operation[] },
  ): Promise<void> {
    const { state, onChange } = this.#options;
    const key = userKey(name);
    for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
      const bytes = await state.get('users', key);
      if (bytes === undefined) {
        throw new UserRefusedError(
          'NoSuchUser',
          `no user '${name}' was made while running (those of the config are changed there)`,
        );
      }
      const { operations } = change(decodeUser(bytes));
      try {
        await state.batch({ conditions: [{ table: 'users', key, equals: bytes }], operations });
        onChange();
        return;
      } catch (error) {
        if (!(error instanceof ConditionFailedError)) throw error;
      }
    }
    throw new UserRefusedError('Busy', `the user '${name}' keeps being changed by others; try again`);
  }

  #mint(): { readonly pair: NewKey; readonly stored: UserRow['keys'][number] } {
    const { randomBytes, sealer, clock } = this.#options;
    const accessKeyId = `S3D${base32(randomBytes(17)).slice(0, 17)}`;
    const secretAccessKey = Buffer.from(randomBytes(30)).toString('base64');
    const sealedSecret = Buffer.from(sealer.seal(secretAccessKey, accessKeyId)).toString('base64');
    return {
      pair: { accessKeyId, secretAccessKey },
      stored: { accessKeyId, sealedSecret, disabled: false, createdMs: Math.floor(clock()) },
    };
  }
}

function withKey(user: UserRow, key: UserRow['keys'][number]): UserRow['keys'] {
  if (user.keys.length >= maxKeys) {
    throw new UserRefusedError('TooManyKeys', `'${user.name}' has ${maxKeys} keys already; remove one first`);
  }
  return [...user.keys, key];
}

function disabling(
  keys: UserRow['keys'],
  of: { readonly accessKeyId: string; readonly disabled: boolean },
): UserRow['keys'] {
  return keys.map((key) => (key.accessKeyId === of.accessKeyId ? { ...key, disabled: of.disabled } : key));
}

function putUser(user: UserRow): Operation {
  return { type: 'put', table: 'users', key: userKey(user.name), value: encodeUser(user) };
}

function putKey(accessKeyId: string, name: string): Operation {
  return { type: 'put', table: 'users', key: accessKeyKey(accessKeyId), value: Buffer.from(name, 'utf8') };
}

function dropKey(accessKeyId: string): Operation {
  return { type: 'delete', table: 'users', key: accessKeyKey(accessKeyId) };
}

const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** One letter a byte: 5 random bits each. */
function base32(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => letters[byte & 31]).join('');
}
