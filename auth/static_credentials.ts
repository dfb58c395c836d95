import type { Credential, CredentialStore } from './credentials.ts';

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
