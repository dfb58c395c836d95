import { PolicyError } from './error.ts';

/** Who asks, as policies name them. */
export type Principal =
  | { readonly kind: 'anonymous' }
  | { readonly kind: 'user'; readonly accountId: string; readonly userName: string }
  | { readonly kind: 'service'; readonly name: string };

/**
 * How a statement names a principal, weakest first: not at all; by its account, which then says itself which of its
 * users may; by name; as one of everybody.
 */
export type PrincipalMatch = 'none' | 'account' | 'named' | 'everyone';

/** The compiled `Principal` of a statement. */
export interface PrincipalSet {
  readonly everyone: boolean;
  match(principal: Principal): PrincipalMatch;
}

const maxPrincipals = 1000;
const iamArn = /^arn:aws:iam::([^:/\s]+):(root|user\/(?:[!-~]+\/)?([^/*?:\s]+))$/;
const accountIdForm = /^[^:/*?\s]{1,256}$/;

/** @throws PolicyError MalformedPolicy */
export function compilePrincipals(value: unknown): PrincipalSet {
  if (value === '*') return everybody;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid();
  const entries = Object.entries(value);
  if (entries.length === 0) throw invalid();
  const accounts = new Set<string>();
  const users = new Map<string, Set<string>>();
  const services = new Set<string>();
  let everyone = false;
  for (const [type, names] of entries) {
    for (const name of namesOf(names)) {
      if (name === '*' && type === 'AWS') everyone = true;
      else if (type === 'AWS') addAws(name, { accounts, users });
      else if (type === 'CanonicalUser' && accountIdForm.test(name)) accounts.add(name);
      else if (type === 'Service' && /^[a-z0-9.-]{3,128}$/.test(name)) services.add(name);
      else throw invalid();
    }
  }
  if (everyone) return everybody;
  return {
    everyone: false,
    match(principal) {
      if (principal.kind === 'service') return services.has(principal.name) ? 'named' : 'none';
      if (principal.kind === 'anonymous') return 'none';
      if (users.get(principal.accountId)?.has(principal.userName) === true) return 'named';
      return accounts.has(principal.accountId) ? 'account' : 'none';
    },
  };
}

const everybody: PrincipalSet = { everyone: true, match: () => 'everyone' };

function namesOf(names: unknown): string[] {
  const list: unknown[] = Array.isArray(names) ? names : [names];
  if (list.length === 0 || list.length > maxPrincipals || !list.every((name) => typeof name === 'string')) {
    throw invalid();
  }
  return list;
}

function addAws(
  name: string,
  sets: { readonly accounts: Set<string>; readonly users: Map<string, Set<string>> },
): void {
  if (accountIdForm.test(name)) {
    sets.accounts.add(name);
    return;
  }
  const match = iamArn.exec(name);
  if (match?.[1] === undefined || /[*?]/.test(match[1])) throw invalid();
  if (match[3] === undefined) {
    sets.accounts.add(match[1]);
    return;
  }
  const names = sets.users.get(match[1]) ?? new Set<string>();
  sets.users.set(match[1], names.add(match[3]));
}

function invalid(): PolicyError {
  return new PolicyError('Invalid principal in policy');
}
