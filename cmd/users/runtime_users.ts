import { randomBytes } from 'node:crypto';
import type { GlobalState } from '../../backend/global_state.ts';
import type { ProcessContext } from '../context.ts';
import { openCredentials } from '../credentials.ts';
import { SecretSealer } from './sealed_secret.ts';
import { UserCredentials } from './user_credentials.ts';
import { UserStore } from './user_store.ts';

/** Users and keys of the config, and those in the database that can be changed while running. */
export function openUsers(
  context: ProcessContext,
  state: GlobalState,
): { readonly users: UserStore; readonly credentials: UserCredentials } {
  const { config, identity, clock } = context;
  const sealer = new SecretSealer({ clusterSecret: identity.secret, randomBytes });
  const users = new UserStore({ state, sealer, clock, randomBytes, onChange: () => credentials.forget() });
  const credentials = new UserCredentials({
    configured: openCredentials(config),
    users,
    sealer,
    monotonicMs: () => performance.now(),
  });
  return { users, credentials };
}
