import { UsageError } from './errors.ts';
import type { AdminClient } from './admin_client.ts';

export const userUsage = `s3d admin user list
s3d admin user add NAME -account ID [-email E] [-admin] [-policy JSON]    prints its first key; the secret is shown once
s3d admin user remove NAME                            with all its keys
s3d admin user policy NAME -policy JSON               [{"bucket":"logs-*","actions":["s3:GetObject"]}]
s3d admin key add NAME                                another key for a user
s3d admin key rotate ID                               a new key in place of this one, which is disabled
s3d admin key disable|enable|remove ID`;

export const userOptions = {
  account: { type: 'string' },
  email: { type: 'string' },
  admin: { type: 'boolean' },
  policy: { type: 'string' },
} as const;

interface Asked {
  readonly area: string | undefined;
  readonly verb: string | undefined;
  /** Name of a user, or id of a key. */
  readonly id: string | undefined;
  readonly values: {
    readonly account?: string;
    readonly email?: string;
    readonly admin?: boolean;
    readonly policy?: string;
  };
}

interface ListedUser {
  readonly name: string;
  readonly account_id: string;
  readonly admin: boolean;
  readonly policy: unknown;
  readonly keys: readonly {
    readonly access_key_id: string;
    readonly disabled: boolean;
    readonly created: string;
  }[];
}

/** `s3d admin user ...` and `s3d admin key ...`. @returns false for what is neither. */
export async function userCommand(
  client: AdminClient,
  asked: Asked,
  print: (line: string) => void,
): Promise<boolean> {
  const id = (what: string): string => {
    if (asked.id === undefined) throw new UsageError(`admin: ${what} expected\n${userUsage}`);
    return encodeURIComponent(asked.id);
  };
  switch (`${asked.area ?? ''} ${asked.verb ?? ''}`) {
    case 'user list': {
      const { users } = await client.get<{ readonly users: readonly ListedUser[] }>('/users');
      for (const user of users) printUser(user, print);
      return true;
    }
    case 'user add':
      id('NAME');
      printKey(await client.send('POST', '/users', newUser(asked)), print);
      return true;
    case 'user remove':
      await client.send('DELETE', `/users/${id('NAME')}`);
      print(`user ${asked.id ?? ''} and its keys are gone`);
      return true;
    case 'user policy':
      await client.send('POST', `/users/${id('NAME')}/policy`, { policy: policyOf(asked.values.policy) });
      print(`user ${asked.id ?? ''} has another policy`);
      return true;
    case 'key add':
      printKey(await client.send('POST', `/users/${id('NAME')}/keys`), print);
      return true;
    case 'key rotate':
      printKey(await client.send('POST', `/keys/${id('ID')}/rotate`), print);
      return true;
    case 'key disable':
    case 'key enable':
      await client.send('POST', `/keys/${id('ID')}/${asked.verb ?? ''}`);
      print(`key ${asked.id ?? ''} is ${asked.verb ?? ''}d; other gateways follow within 5 seconds`);
      return true;
    case 'key remove':
      await client.send('DELETE', `/keys/${id('ID')}`);
      print(`key ${asked.id ?? ''} is gone`);
      return true;
    default:
      return false;
  }
}

function newUser(asked: Asked): object {
  const { account, email, admin, policy } = asked.values;
  if (account === undefined) throw new UsageError(`admin: -account ID expected\n${userUsage}`);
  return {
    name: asked.id,
    account_id: account,
    ...(email === undefined ? {} : { email }),
    ...(admin === undefined ? {} : { admin }),
    ...(policy === undefined ? {} : { policy: policyOf(policy) }),
  };
}

function policyOf(text: string | undefined): unknown {
  try {
    return JSON.parse(text ?? '') as unknown;
  } catch {
    throw new UsageError(`admin: -policy expects JSON, such as [{"bucket":"*","actions":["s3:*"]}]`);
  }
}

function printUser(user: ListedUser, print: (line: string) => void): void {
  print(
    `${user.name}  account ${user.account_id}${user.admin ? '  admin' : ''}  ${JSON.stringify(user.policy)}`,
  );
  for (const key of user.keys) {
    print(`  ${key.access_key_id}  made ${key.created}${key.disabled ? '  disabled' : ''}`);
  }
}

function printKey(answer: unknown, print: (line: string) => void): void {
  const pair = answer as { readonly access_key_id: string; readonly secret_access_key: string };
  print(`access_key_id = "${pair.access_key_id}"`);
  print(`secret_access_key = "${pair.secret_access_key}"`);
}
