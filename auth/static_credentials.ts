import type { Account, AccountDirectory, Credential, CredentialStore } from './credentials.ts';

/**
 * The credentials of a config file. The list is copied: later changes to it change nothing.
 *
 * @throws RangeError if an access key id is empty or given twice, or a secret is empty.
 */
export function staticCredentials(list: readonly Credential[]): CredentialStore {
  // A Map has no inherited members: `constructor` and `__proto__` are unknown keys like any other.
  const byId = new Map<string, Credential>();
  for (const credential of list) {
    const { accessKeyId, secretAccessKey } = credential;
    if (accessKeyId === '') throw new RangeError('an access key id must not be empty');
    if (secretAccessKey === '') {
      throw new RangeError(`the secret access key of ${JSON.stringify(accessKeyId)} must not be empty`);
    }
    if (byId.has(accessKeyId)) {
      throw new RangeError(`the access key id ${JSON.stringify(accessKeyId)} must not be given twice`);
    }
    byId.set(accessKeyId, Object.freeze({ ...credential }));
  }
  return {
    async find(accessKeyId) {
      return byId.get(accessKeyId);
    },
  };
}

/** The accounts that the credentials of a config file belong to; each is called as its first credential is. */
export function staticAccounts(list: readonly Credential[]): AccountDirectory {
  const byId = new Map<string, Account>();
  const byEmail = new Map<string, Account>();
  for (const { accountId, displayName, email } of list) {
    const account = byId.get(accountId) ?? { id: accountId, displayName };
    byId.set(accountId, account);
    if (email !== undefined) byEmail.set(email.toLowerCase(), account);
  }
  return {
    byId: (id) => Promise.resolve(byId.get(id)),
    byEmail: (email) => Promise.resolve(byEmail.get(email.toLowerCase())),
  };
}
