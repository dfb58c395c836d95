import type { Condition } from './conditions.ts';
import type { Policy, Statement } from './document.ts';
import { parseRange } from './ip_range.ts';

/** Keys whose fixed values bind a statement to somebody in particular. */
const bindingKeys: ReadonlySet<string> = new Set([
  'aws:principalaccount',
  'aws:principalarn',
  'aws:principalorgid',
  'aws:sourceaccount',
  'aws:sourcearn',
  'aws:sourceowner',
  'aws:sourcevpc',
  'aws:sourcevpce',
  'aws:userid',
]);
const bindingOperators: ReadonlySet<string> = new Set([
  'StringEquals',
  'StringEqualsIgnoreCase',
  'StringLike',
  'ArnEquals',
  'ArnLike',
]);

/** Wider ranges are the whole world. */
const widestBits = { 4: 8, 6: 32 } as const;

/**
 * Whether a policy lets in anybody: an `Allow` for everyone that no condition binds to fixed principals or addresses.
 * https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html#access-control-block-public-access-policy-status
 */
export function isPublicPolicy(policy: Policy): boolean {
  return policy.statements.some(isPublicStatement);
}

function isPublicStatement(statement: Statement): boolean {
  return (
    statement.effect === 'Allow' &&
    statement.principals.everyone &&
    !statement.conditions.some((condition) => binds(condition))
  );
}

function binds(condition: Condition): boolean {
  const { key, operator, ifExists, quantifier, values } = condition;
  if (ifExists || quantifier === 'all') return false;
  if (key === 'aws:sourceip') return operator === 'IpAddress' && values.every(isNarrow);
  return (
    bindingKeys.has(key) &&
    bindingOperators.has(operator) &&
    values.every((value) => !/[*?]|\$\{/.test(value))
  );
}

function isNarrow(value: string): boolean {
  const range = parseRange(value);
  return range !== undefined && range.prefixBits >= widestBits[range.family];
}
