import { compileConditions, type Condition } from './conditions.ts';
import { PolicyError } from './error.ts';
import { compilePattern, type PatternTest } from './pattern.ts';
import { compilePrincipals, type PrincipalSet } from './principal.ts';

/** Longest document, in bytes of UTF-8: S3's own limit. */
const maxPolicyBytes = 20 * 1024;
const maxStatements = 500;
const maxPatterns = 1000;
const noVariables = (): undefined => undefined;

/** What a policy is held against when it is put. */
export interface PolicyRules {
  /** The bucket that it is for: every resource must be able to lie in it. */
  readonly bucket: string;
  /** Every action there is, in lower case, such as `s3:getobject`. */
  readonly actions: ReadonlySet<string>;
  readonly knownKey: (key: string) => boolean;
}

/** One compiled statement. */
export interface Statement {
  readonly effect: 'Allow' | 'Deny';
  readonly principals: PrincipalSet;
  /** True: the statement is about everybody but `principals`. */
  readonly notPrincipals: boolean;
  /** Whether it is about an action (in lower case). */
  readonly coversAction: (action: string) => boolean;
  readonly resources: readonly PatternTest[];
  readonly notResources: boolean;
  readonly conditions: readonly Condition[];
}

/** A bucket policy, validated and compiled: see `evaluatePolicy`. */
export interface Policy {
  readonly statements: readonly Statement[];
  /** The statements about an action; filled as actions come up, of which there are a fixed number. */
  readonly byAction: Map<string, readonly Statement[]>;
}

/**
 * Reads a bucket policy.
 * https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-policies.html
 * @throws PolicyError, which says what is wrong.
 */
export function parsePolicy(text: string, rules: PolicyRules): Policy {
  if (Buffer.byteLength(text) > maxPolicyBytes) {
    throw new PolicyError(`Policies must not be larger than ${maxPolicyBytes} bytes`);
  }
  const document = objectOf(parseJson(text), "Policies must be valid JSON and the first byte must be '{'");
  onlyMembers(document, ['Version', 'Id', 'Statement']);
  const version = document['Version'] ?? '2008-10-17';
  if (version !== '2008-10-17' && version !== '2012-10-17') {
    throw new PolicyError('The policy must contain a valid version string');
  }
  const id = document['Id'];
  if (id !== undefined && typeof id !== 'string') throw new PolicyError('Policy has an invalid Id');
  const listed = listOf(document['Statement']);
  if (listed.length === 0 || listed.length > maxStatements) {
    throw new PolicyError(`A policy must have 1 to ${maxStatements} statements`);
  }
  const statements = listed.map((item) =>
    compileStatement(item, { rules, variables: version === '2012-10-17' }),
  );
  return { statements, byAction: new Map() };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new PolicyError('This policy contains invalid Json');
  }
}

function compileStatement(
  item: unknown,
  options: { readonly rules: PolicyRules; readonly variables: boolean },
): Statement {
  const { rules, variables } = options;
  const statement = objectOf(item, 'Policy has an invalid statement');
  onlyMembers(statement, [
    'Sid',
    'Effect',
    'Principal',
    'NotPrincipal',
    'Action',
    'NotAction',
    'Resource',
    'NotResource',
    'Condition',
  ]);
  const { Sid: sid, Effect: effect } = statement;
  if (sid !== undefined && typeof sid !== 'string') throw new PolicyError('Policy has an invalid Sid');
  if (effect !== 'Allow' && effect !== 'Deny') throw new PolicyError('Invalid effect in policy');
  const who = oneOf(statement, 'Principal', 'NotPrincipal');
  if (who.negated && effect === 'Allow') {
    // It would let in everybody but those who are named, also whoever isn't signed in at all.
    throw new PolicyError('Allow with NotPrincipal is not allowed.');
  }
  const what = oneOf(statement, 'Action', 'NotAction');
  const where = oneOf(statement, 'Resource', 'NotResource');
  const actions = patternsOf(what.value).map((pattern) => compileAction(pattern, rules.actions));
  return {
    effect,
    principals: compilePrincipals(who.value),
    notPrincipals: who.negated,
    coversAction: (action) => actions.some((test) => test(action, noVariables)) !== what.negated,
    resources: patternsOf(where.value).map((pattern) => compileResource(pattern, { rules, variables })),
    notResources: where.negated,
    conditions: compileConditions(statement['Condition'], { knownKey: rules.knownKey, variables }),
  };
}

function oneOf(
  statement: Readonly<Record<string, unknown>>,
  name: string,
  opposite: string,
): { readonly value: unknown; readonly negated: boolean } {
  const value = statement[name];
  const other = statement[opposite];
  if ((value === undefined) === (other === undefined)) {
    throw new PolicyError(`Each statement must have either ${name} or ${opposite}`);
  }
  return value === undefined ? { value: other, negated: true } : { value, negated: false };
}

function patternsOf(value: unknown): string[] {
  const list = listOf(value);
  if (list.length === 0 || list.length > maxPatterns)
    throw new PolicyError('Policy has an empty list, or too long a one');
  return list.map((item) => {
    if (typeof item !== 'string') throw new PolicyError('Policy has an invalid member');
    return item;
  });
}

function compileAction(source: string, actions: ReadonlySet<string>): PatternTest {
  const test = compilePattern(source.toLowerCase(), { wildcards: true, variables: false });
  // One that covers nothing is a slip of the pen, and a denial that never comes.
  if (![...actions].some((action) => test(action, noVariables))) {
    throw new PolicyError('Policy has invalid action');
  }
  return test;
}

const resourcePrefix = 'arn:aws:s3:::';

function compileResource(
  source: string,
  options: { readonly rules: PolicyRules; readonly variables: boolean },
): PatternTest {
  const { rules, variables } = options;
  const [bucketPart = ''] = source.startsWith(resourcePrefix)
    ? source.slice(resourcePrefix.length).split('/')
    : [];
  try {
    const test = compilePattern(source, { wildcards: true, variables });
    const mayBe = compilePattern(bucketPart, { wildcards: true, variables: false });
    if (source === '*' || mayBe(rules.bucket, noVariables)) return test;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  throw new PolicyError('Policy has invalid resource');
}

function listOf(value: unknown): unknown[] {
  if (value === undefined) return [];
  return Array.isArray(value) ? (value as unknown[]) : [value];
}

function objectOf(value: unknown, otherwise: string): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new PolicyError(otherwise);
  return value as Readonly<Record<string, unknown>>;
}

function onlyMembers(object: Readonly<Record<string, unknown>>, known: readonly string[]): void {
  for (const name of Object.keys(object)) {
    if (!known.includes(name)) throw new PolicyError(`Unknown field ${name.slice(0, 64)}`);
  }
}
