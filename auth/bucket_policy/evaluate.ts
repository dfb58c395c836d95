import type { ConditionValues } from './conditions.ts';
import type { Policy, Statement } from './document.ts';
import type { Principal, PrincipalMatch } from './principal.ts';

/** One question to a policy. */
export interface PolicyQuestion {
  readonly principal: Principal;
  /** In lower case. */
  readonly action: string;
  /** `arn:aws:s3:::bucket` or `arn:aws:s3:::bucket/key`. */
  readonly resource: string;
  readonly values: ConditionValues;
}

export interface PolicyAnswer {
  readonly denied: boolean;
  /** How the strongest of the statements that allow it names the principal. */
  readonly allowed: PrincipalMatch;
}

const strength: readonly PrincipalMatch[] = ['none', 'account', 'named', 'everyone'];

/** What a policy says by itself. Whether that is enough is for the caller to know: `allowed` without `denied`. */
export function evaluatePolicy(policy: Policy, question: PolicyQuestion): PolicyAnswer {
  const resolve = (name: string): string | undefined => {
    const values = question.values(name);
    return values?.length === 1 ? values[0] : undefined;
  };
  let allowed = 0;
  for (const statement of statementsAbout(policy, question.action)) {
    const match = strength.indexOf(matchOf(statement, question.principal));
    if (match === 0 || (statement.effect === 'Allow' && match <= allowed)) continue;
    const inside = statement.resources.some((test) => test(question.resource, resolve));
    if (inside === statement.notResources) continue;
    if (!statement.conditions.every((condition) => condition.holds(question.values, resolve))) continue;
    if (statement.effect === 'Deny') return { denied: true, allowed: 'none' };
    allowed = match;
  }
  return { denied: false, allowed: strength[allowed] ?? 'none' };
}

function matchOf(statement: Statement, principal: Principal): PrincipalMatch {
  const match = statement.principals.match(principal);
  if (!statement.notPrincipals) return match;
  return match === 'none' ? 'everyone' : 'none';
}

function statementsAbout(policy: Policy, action: string): readonly Statement[] {
  const known = policy.byAction.get(action);
  if (known !== undefined) return known;
  const found = policy.statements.filter((statement) => statement.coversAction(action));
  policy.byAction.set(action, found);
  return found;
}
