import type { Account, AccountDirectory, Credential, CredentialStore } from '../../auth/credentials.ts';
import { BackendError } from '../../backend/errors.ts';
import { UnavailableError } from '../../s3db/errors.ts';
import type { SecretSealer } from './sealed_secret.ts';
import type { UserRow } from './user_rows.ts';
import type { UserStore } from './user_store.ts';

/** A key that was changed at another gateway is known here no later than this. */
const freshMs = 5_000;
/** While the database can't be reached, keys that were known go on working for so long. */
const staleMs = 60_000;
const maxRemembered = 10_000;

interface Remembered {
  /** Undefined: there is no such key. */
  readonly credential: Credential | undefined;
  readonly readMs: number;
}

interface UserCredentialsOptions {
  /** Asked first: the keys and accounts of the config. */
  readonly configured: { readonly credentials: CredentialStore; readonly accounts: AccountDirectory };
  readonly users: UserStore;
  readonly sealer: SecretSealer;
  /** Milliseconds, never going back. */
  readonly monotonicMs: () => number;
}

/**
 * The keys of the config together with those made at run time. The latter are read from the database and remembered
 * for 5 seconds; a change made at this gateway counts at once (`forget`).
 */
export class UserCredentials implements CredentialStore, AccountDirectory {
  readonly #options: UserCredentialsOptions;
  readonly #remembered = new Map<string, Remembered>();
  /** Counts changes: what was read before one isn't remembered after it. */
  #changes = 0;

  constructor(options: UserCredentialsOptions) {
    this.#options = options;
  }

  /** @throws BackendError ServiceUnavailable */
  async find(accessKeyId: string): Promise<Credential | undefined> {
    const configured = await this.#options.configured.credentials.find(accessKeyId);
    if (configured !== undefined) return configured;
    const known = this.#remembered.get(accessKeyId);
    const ageMs = known === undefined ? Infinity : this.#options.monotonicMs() - known.readMs;
    if (known !== undefined && ageMs < freshMs) return known.credential;
    try {
      return await this.#read(accessKeyId, known);
    } catch (error) {
      if (!(error instanceof UnavailableError)) throw error;
      if (known !== undefined && ageMs < staleMs) return known.credential;
      throw new BackendError('ServiceUnavailable', 'Keys can not be looked up at the moment.');
    }
  }

  /** Everything is to be read again. */
  forget(): void {
    this.#changes += 1;
    this.#remembered.clear();
  }

  async byId(id: string): Promise<Account | undefined> {
    return (
      (await this.#options.configured.accounts.byId(id)) ?? this.#firstUser((user) => user.accountId === id)
    );
  }

  async byEmail(email: string): Promise<Account | undefined> {
    const wanted = email.toLowerCase();
    return (
      (await this.#options.configured.accounts.byEmail(email)) ??
      this.#firstUser((user) => user.email?.toLowerCase() === wanted)
    );
  }

  async #firstUser(fits: (user: UserRow) => boolean): Promise<Account | undefined> {
    for await (const user of this.#options.users.list()) {
      if (fits(user)) return { id: user.accountId, displayName: user.name };
    }
    return undefined;
  }

  async #read(accessKeyId: string, known: Remembered | undefined): Promise<Credential | undefined> {
    const { users, monotonicMs } = this.#options;
    const before = this.#changes;
    const readMs = monotonicMs();
    const user = await users.byKey(accessKeyId);
    const found = user === undefined ? undefined : this.#credentialOf(user, accessKeyId);
    // The same object for the same key: what was derived from it is kept with it.
    const credential = isSame(known?.credential, found) ? known?.credential : found;
    if (before === this.#changes) {
      if (this.#remembered.size >= maxRemembered) {
        const oldest = this.#remembered.keys().next();
        if (oldest.done !== true) this.#remembered.delete(oldest.value);
      }
      this.#remembered.delete(accessKeyId);
      this.#remembered.set(accessKeyId, { credential, readMs });
    }
    return credential;
  }

  #credentialOf(user: UserRow, accessKeyId: string): Credential | undefined {
    const key = user.keys.find((candidate) => candidate.accessKeyId === accessKeyId);
    if (key === undefined || key.disabled) return undefined;
    const secret = this.#options.sealer.open(Buffer.from(key.sealedSecret, 'base64'), accessKeyId);
    return Object.freeze({
      accessKeyId,
      secretAccessKey: secret,
      accountId: user.accountId,
      displayName: user.name,
      admin: user.admin,
      ...(user.email === undefined ? {} : { email: user.email }),
      policy: user.policy,
    });
  }
}

function isSame(a: Credential | undefined, b: Credential | undefined): boolean {
  return a !== undefined && b !== undefined && JSON.stringify(a) === JSON.stringify(b);
}
