import { PolicyError } from './error.ts';
import { parseRange } from './ip_range.ts';
import { compilePattern, type PatternTest } from './pattern.ts';

/** One operator, without its quantifier and `IfExists`. */
export interface Comparison {
  /** `...Not...`: holds where none of the policy's values match, and where the request has no value. */
  readonly negated: boolean;
  /** @throws PolicyError where the policy's value can't be one of this operator. */
  readonly compile: (value: string, options: { readonly variables: boolean }) => PatternTest;
}

type Compile = Comparison['compile'];

function text(options: { readonly wildcards: boolean; readonly foldCase?: boolean }): Compile {
  return (value, { variables }) => pattern(value, { ...options, variables });
}

function pattern(value: string, options: Parameters<typeof compilePattern>[1]): PatternTest {
  try {
    return compilePattern(value, options);
  } catch (error) {
    if (error instanceof RangeError)
      throw new PolicyError(`Policy has an invalid variable: ${error.message}`);
    throw error;
  }
}

const numberForm = /^[+-]?\d{1,15}(?:\.\d{1,15})?$/;

function numberOf(value: string): number | undefined {
  return numberForm.test(value) ? Number(value) : undefined;
}

const isoForm = /^\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:\d{2}))?$/;

/** ISO 8601, or seconds since 1970. In milliseconds. */
function timeOf(value: string): number | undefined {
  if (/^\d{1,12}$/.test(value)) return Number(value) * 1000;
  if (!isoForm.test(value)) return undefined;
  const timeMs = Date.parse(value);
  return Number.isNaN(timeMs) ? undefined : timeMs;
}

function ordered(
  parse: (value: string) => number | undefined,
  holds: (given: number, wanted: number) => boolean,
): Compile {
  return (value) => {
    const wanted = parse(value);
    if (wanted === undefined) throw invalidValue();
    return (given) => {
      const number = parse(given);
      return number !== undefined && holds(number, wanted);
    };
  };
}

function bool(value: string): PatternTest {
  const wanted = value.toLowerCase();
  if (wanted !== 'true' && wanted !== 'false') throw invalidValue();
  return (given) => given.toLowerCase() === wanted;
}

function address(value: string): PatternTest {
  const range = parseRange(value);
  if (range === undefined) throw invalidValue();
  return (given) => range.contains(given);
}

const arnParts = 6;

/** Each of the six parts of an ARN is compared by itself, so that a star doesn't reach over a colon. */
function arn(value: string, options: { readonly variables: boolean }): PatternTest {
  const tests = partsOfArn(value).map((part) => pattern(part, { wildcards: true, ...options }));
  if (tests.length !== arnParts) {
    if (value !== '*') throw invalidValue();
    return () => true;
  }
  return (given, resolve) => {
    const parts = partsOfArn(given);
    return parts.length === arnParts && tests.every((test, at) => test(parts[at] ?? '', resolve));
  };
}

function partsOfArn(value: string): string[] {
  const parts = value.split(':');
  return parts.length <= arnParts ? parts : [...parts.slice(0, 5), parts.slice(5).join(':')];
}

function binary(value: string): PatternTest {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(value)) throw invalidValue();
  return (given) => given === value;
}

function invalidValue(): PolicyError {
  return new PolicyError('Policy has invalid condition values');
}

/** An operator, and its opposite where it has one. */
function pair(name: string, opposite: string, compile: Compile): [string, Comparison][] {
  return [
    [name, { negated: false, compile }],
    [opposite, { negated: true, compile }],
  ];
}

function orders(prefix: string, parse: (value: string) => number | undefined): [string, Comparison][] {
  const one = (name: string, holds: (given: number, wanted: number) => boolean): [string, Comparison] => [
    `${prefix}${name}`,
    { negated: false, compile: ordered(parse, holds) },
  ];
  return [
    ...pair(
      `${prefix}Equals`,
      `${prefix}NotEquals`,
      ordered(parse, (given, wanted) => given === wanted),
    ),
    one('LessThan', (given, wanted) => given < wanted),
    one('LessThanEquals', (given, wanted) => given <= wanted),
    one('GreaterThan', (given, wanted) => given > wanted),
    one('GreaterThanEquals', (given, wanted) => given >= wanted),
  ];
}

/**
 * The operators of IAM's policy language by name, but for `Null`.
 * https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
 */
export const comparisons: Readonly<Record<string, Comparison>> = Object.fromEntries([
  ...pair('StringEquals', 'StringNotEquals', text({ wildcards: false })),
  ...pair('StringEqualsIgnoreCase', 'StringNotEqualsIgnoreCase', text({ wildcards: false, foldCase: true })),
  ...pair('StringLike', 'StringNotLike', text({ wildcards: true })),
  ...orders('Numeric', numberOf),
  ...orders('Date', timeOf),
  ['Bool', { negated: false, compile: bool }],
  ['BinaryEquals', { negated: false, compile: binary }],
  ...pair('IpAddress', 'NotIpAddress', address),
  ...pair('ArnEquals', 'ArnNotEquals', arn),
  ...pair('ArnLike', 'ArnNotLike', arn),
]);
