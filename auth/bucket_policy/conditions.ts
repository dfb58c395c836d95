import { comparisons, type Comparison } from './comparisons.ts';
import { PolicyError } from './error.ts';
import type { ResolveVariable } from './pattern.ts';

/** What a request says under a condition key (in lower case); undefined where it says nothing. */
export type ConditionValues = (key: string) => readonly string[] | undefined;

/** One line of a `Condition` block: an operator, a key and the values that the policy gives. */
export interface Condition {
  readonly key: string;
  /** Without quantifier and IfExists, such as `StringEquals`. */
  readonly operator: string;
  readonly quantifier: 'any' | 'all' | undefined;
  readonly ifExists: boolean;
  readonly values: readonly string[];
  readonly holds: (request: ConditionValues, resolve: ResolveVariable) => boolean;
}

const operatorForm = /^(?:(ForAnyValue|ForAllValues):)?([A-Za-z]+?)(IfExists)?$/;
const maxConditions = 100;
const maxValues = 1000;

/**
 * Compiles a `Condition` block; all of what it returns must hold.
 * @param options.knownKey whether a key (in lower case) means anything here. A key that doesn't is refused: a denial
 * that hangs on it would never come.
 * @throws PolicyError
 */
export function compileConditions(
  block: unknown,
  options: { readonly knownKey: (key: string) => boolean; readonly variables: boolean },
): Condition[] {
  if (block === undefined) return [];
  const conditions: Condition[] = [];
  for (const [name, keys] of entriesOf(block)) {
    for (const [key, value] of entriesOf(keys)) {
      const lower = key.toLowerCase();
      if (!options.knownKey(lower)) throw new PolicyError(`Policy has an invalid condition key - ${key}`);
      conditions.push(compileCondition(name, { key: lower, values: valuesOf(value) }, options));
    }
  }
  if (conditions.length > maxConditions) throw new PolicyError('Policy has too many conditions');
  return conditions;
}

function entriesOf(value: unknown): [string, unknown][] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new PolicyError('Conditions do not apply to combination of actions and resources in statement');
  }
  return Object.entries(value);
}

function valuesOf(value: unknown): string[] {
  const list: unknown[] = Array.isArray(value) ? value : [value];
  if (list.length === 0 || list.length > maxValues)
    throw new PolicyError('Policy has invalid condition values');
  return list.map((item) => {
    if (typeof item === 'string') return item;
    if (typeof item === 'boolean' || typeof item === 'number') return String(item);
    throw new PolicyError('Policy has invalid condition values');
  });
}

function compileCondition(
  name: string,
  line: { readonly key: string; readonly values: readonly string[] },
  options: { readonly variables: boolean },
): Condition {
  const { key, values } = line;
  const match = operatorForm.exec(name);
  const operator = match?.[2] ?? '';
  const quantifier = match?.[1] === undefined ? undefined : match[1] === 'ForAnyValue' ? 'any' : 'all';
  const ifExists = match?.[3] !== undefined;
  const found = { key, operator, quantifier, ifExists, values } as const;
  if (operator === 'Null') {
    if (quantifier !== undefined || ifExists) throw unknownOperator(name);
    const wanted = values.map((value) => booleanOf(value));
    return {
      ...found,
      holds: (request) => wanted.includes((request(key)?.length ?? 0) === 0),
    };
  }
  const comparison = Object.hasOwn(comparisons, operator) ? comparisons[operator] : undefined;
  if (comparison === undefined) throw unknownOperator(name);
  return { ...found, holds: comparing({ ...found, comparison, variables: options.variables }) };
}

function comparing(line: {
  readonly key: string;
  readonly quantifier: 'any' | 'all' | undefined;
  readonly ifExists: boolean;
  readonly values: readonly string[];
  readonly comparison: Comparison;
  readonly variables: boolean;
}): Condition['holds'] {
  const { key, quantifier, ifExists, comparison } = line;
  const tests = line.values.map((value) => comparison.compile(value, { variables: line.variables }));
  const { negated } = comparison;
  return (request, resolve) => {
    const given = request(key);
    const absent = given === undefined || given.length === 0;
    if (absent) {
      if (ifExists || quantifier === 'all') return true;
      return quantifier === undefined && negated;
    }
    const matches = (value: string): boolean => tests.some((test) => test(value, resolve));
    if (quantifier === 'all') return given.every((value) => matches(value) !== negated);
    if (quantifier === 'any') return given.some((value) => matches(value) !== negated);
    return given.some(matches) !== negated;
  };
}

function booleanOf(text: string): boolean {
  const lower = text.toLowerCase();
  if (lower === 'true' || lower === 'false') return lower === 'true';
  throw new PolicyError('Policy has invalid condition values');
}

function unknownOperator(name: string): PolicyError {
  return new PolicyError(`Invalid Condition type : ${name.slice(0, 64)}`);
}
