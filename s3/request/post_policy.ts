import { S3Error } from '../errors.ts';

/** What a form says, by names in lower case, as the policy is held against it. */
export type FormValues = ReadonlyMap<string, string>;

interface FieldCondition {
  readonly operator: 'eq' | 'starts-with';
  /** In lower case, without `$`. */
  readonly field: string;
  readonly value: string;
}

/** A POST policy document that was found well-formed. */
export interface PostPolicy {
  readonly expiresMs: number;
  readonly fields: readonly FieldCondition[];
  readonly minBytes: number;
  readonly maxBytes: number;
}

const maxConditions = 200;
const expirationForm = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?Z$/;

/** Fields that no condition has to name. */
const uncovered: ReadonlySet<string> = new Set(['file', 'policy', 'x-amz-signature']);

/**
 * Reads the policy that was signed for a form.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html
 * @throws S3Error InvalidPolicyDocument
 */
export function parsePostPolicy(text: string): PostPolicy {
  const document = parseJson(text);
  if (typeof document !== 'object' || document === null || Array.isArray(document)) {
    throw invalid('Invalid JSON.');
  }
  const { expiration, conditions } = document as Readonly<Record<string, unknown>>;
  if (expiration === undefined) throw invalid('Policy missing expiration.');
  if (
    typeof expiration !== 'string' ||
    !expirationForm.test(expiration) ||
    Number.isNaN(Date.parse(expiration))
  ) {
    throw invalid("Invalid 'expiration' value.");
  }
  if (conditions === undefined) throw invalid('Policy missing conditions.');
  if (!Array.isArray(conditions) || conditions.length > maxConditions)
    throw invalid("Invalid 'conditions' value.");
  const fields: FieldCondition[] = [];
  let minBytes = 0;
  let maxBytes = Infinity;
  for (const condition of conditions as unknown[]) {
    const range = sizeRange(condition);
    if (range === undefined) {
      fields.push(...fieldConditions(condition));
      continue;
    }
    minBytes = Math.max(minBytes, range.minBytes);
    maxBytes = Math.min(maxBytes, range.maxBytes);
  }
  return { expiresMs: Date.parse(expiration), fields, minBytes, maxBytes };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw invalid('Invalid JSON.');
  }
}

function sizeRange(condition: unknown): { readonly minBytes: number; readonly maxBytes: number } | undefined {
  if (!Array.isArray(condition)) return undefined;
  const [operator, min, max, ...more] = condition as unknown[];
  if (typeof operator !== 'string' || operator.toLowerCase() !== 'content-length-range') return undefined;
  const minBytes = sizeOf(min);
  const maxBytes = sizeOf(max);
  if (minBytes === undefined || maxBytes === undefined || more.length > 0 || minBytes > maxBytes) {
    throw invalid('Invalid content-length-range.');
  }
  return { minBytes, maxBytes };
}

function sizeOf(value: unknown): number | undefined {
  const size = typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : value;
  return typeof size === 'number' && Number.isSafeInteger(size) && size >= 0 ? size : undefined;
}

function fieldConditions(condition: unknown): FieldCondition[] {
  if (Array.isArray(condition)) {
    const [operator, field, value, ...more] = condition as unknown[];
    const name = typeof operator === 'string' ? operator.toLowerCase() : '';
    if (
      (name !== 'eq' && name !== 'starts-with') ||
      typeof field !== 'string' ||
      !/^\$./.test(field) ||
      typeof value !== 'string' ||
      more.length > 0
    ) {
      throw invalid('Invalid condition.');
    }
    return [{ operator: name, field: field.slice(1).toLowerCase(), value }];
  }
  if (typeof condition !== 'object' || condition === null) throw invalid('Invalid condition.');
  const entries = Object.entries(condition);
  if (entries.length !== 1) throw invalid('Invalid condition: expected exactly one field.');
  return entries.map(([field, value]: [string, unknown]) => {
    if (typeof value !== 'string') throw invalid('Invalid condition.');
    return { operator: 'eq', field: field.toLowerCase(), value };
  });
}

/**
 * Holds a form against its policy: every condition must be met, and every field must be named by one.
 * @param form with `bucket`, which is the one that the form is posted to.
 * @throws S3Error AccessDenied
 */
export function checkPostPolicy(policy: PostPolicy, form: FormValues, nowMs: number): void {
  if (nowMs > policy.expiresMs) throw refused('Policy expired.');
  const named = new Set<string>();
  for (const { operator, field, value } of policy.fields) {
    named.add(field);
    const given = form.get(field) ?? '';
    const met = operator === 'eq' ? given === value : meets(field, { given, value });
    if (!met) throw refused(`Policy Condition failed: ${JSON.stringify([operator, `$${field}`, value])}`);
  }
  for (const name of form.keys()) {
    if (named.has(name) || uncovered.has(name) || name.startsWith('x-ignore-')) continue;
    throw refused(`Extra input fields: ${name}`);
  }
}

/** `Content-Type` may list several types, of which each must begin so. */
function meets(field: string, { given, value }: { readonly given: string; readonly value: string }): boolean {
  if (field !== 'content-type') return given.startsWith(value);
  return given.split(',').every((type) => type.trim().startsWith(value));
}

function invalid(why: string): S3Error {
  return new S3Error('InvalidPolicyDocument', `Invalid Policy: ${why}`);
}

function refused(why: string): S3Error {
  return new S3Error('AccessDenied', `Invalid according to Policy: ${why}`);
}
