import { describe, expect, it } from 'vitest';
import { compileConditions } from './conditions.ts';
import { PolicyError } from './error.ts';

function holds(
  block: unknown,
  values: Readonly<Record<string, readonly string[]>> = {},
  options: { readonly variables?: boolean } = {},
): boolean {
  const conditions = compileConditions(block, { knownKey: () => true, variables: options.variables ?? true });
  const read = (key: string): readonly string[] | undefined => values[key];
  return conditions.every((condition) => condition.holds(read, (name) => read(name)?.[0]));
}

/** What the request says under the one key `k`; none: nothing. */
function holdsFor(operator: string, wanted: unknown, ...given: string[]): boolean {
  return holds({ [operator]: { K: wanted } }, given.length === 0 ? {} : { k: given });
}

describe('conditions of policies', () => {
  it('compare texts', () => {
    expect(holdsFor('StringEquals', ['a', 'B'], 'B')).toBe(true);
    expect(holdsFor('StringEquals', 'a*', 'ab')).toBe(false);
    expect(holdsFor('StringEquals', 'a', 'A')).toBe(false);
    expect(holdsFor('StringNotEquals', ['a', 'b'], 'b')).toBe(false);
    expect(holdsFor('StringNotEquals', ['a', 'b'], 'c')).toBe(true);
    expect(holdsFor('StringEqualsIgnoreCase', '\u0130X', '\u0130x')).toBe(true);
    expect(holdsFor('StringNotEqualsIgnoreCase', 'X', 'x')).toBe(false);
    expect(holdsFor('StringLike', 'p?b*/x', 'pub/lic/x')).toBe(true);
    expect(holdsFor('StringNotLike', ['x*', 'pub*'], 'public')).toBe(false);
  });

  it('compare numbers and times', () => {
    expect(holdsFor('NumericEquals', '10', '10.0')).toBe(true);
    expect(holdsFor('NumericNotEquals', 10, '11')).toBe(true);
    expect(holdsFor('NumericLessThanEquals', '10', '10')).toBe(true);
    expect(holdsFor('NumericLessThan', '10', '10')).toBe(false);
    expect(holdsFor('NumericGreaterThan', '10', '10.5')).toBe(true);
    expect(holdsFor('NumericGreaterThanEquals', '10', 'many')).toBe(false);
    expect(holdsFor('DateLessThan', '2026-01-02T00:00:00Z', '2026-01-01T23:59:59.999Z')).toBe(true);
    expect(holdsFor('DateGreaterThanEquals', '1767225600', '2026-01-01T00:00:00Z')).toBe(true);
    expect(holdsFor('DateEquals', '2026-01-01', '1767225600')).toBe(true);
    expect(holdsFor('DateNotEquals', '2026-01-01', '2026-01-01T00:00:00+00:00')).toBe(false);
  });

  it('compare booleans, addresses and ARNs', () => {
    expect(holdsFor('Bool', 'TRUE', 'true')).toBe(true);
    expect(holdsFor('Bool', false, 'true')).toBe(false);
    expect(holdsFor('IpAddress', ['10.0.0.0/8', '192.0.2.7'], '10.200.1.1')).toBe(true);
    expect(holdsFor('IpAddress', '10.0.0.0/8', '11.0.0.1')).toBe(false);
    expect(holdsFor('IpAddress', '0.0.0.0/0', '203.0.113.9')).toBe(true);
    expect(holdsFor('IpAddress', '192.0.2.7', '::ffff:192.0.2.7')).toBe(true);
    expect(holdsFor('IpAddress', '2001:db8::/32', '2001:db8:1::5')).toBe(true);
    expect(holdsFor('IpAddress', '2001:db8::/32', '2001:db9::1')).toBe(false);
    expect(holdsFor('IpAddress', '::/0', '192.0.2.7')).toBe(false);
    expect(holdsFor('NotIpAddress', '10.0.0.0/8', '10.1.1.1')).toBe(false);
    expect(holdsFor('NotIpAddress', '10.0.0.0/8', 'nonsense')).toBe(true);
    expect(holdsFor('ArnLike', 'arn:aws:iam::*:user/*', 'arn:aws:iam::1:user/a:b')).toBe(true);
    expect(holdsFor('ArnEquals', 'arn:aws:iam::1*:root', 'arn:aws:iam::1:user/a')).toBe(false);
    expect(holdsFor('ArnNotLike', 'arn:aws:iam::1:user/*', 'arn:aws:iam::2:user/a')).toBe(true);
    expect(holdsFor('BinaryEquals', 'QUJD', 'QUJD')).toBe(true);
  });

  it('take an absent key for no match, which is what negations ask for', () => {
    for (const name of ['StringEquals', 'StringLike', 'NumericLessThan', 'DateEquals', 'Bool', 'IpAddress']) {
      const wanted = name === 'Bool' ? 'true' : name === 'IpAddress' ? '10.0.0.0/8' : '1';
      expect([name, holdsFor(name, wanted)]).toEqual([name, false]);
      expect([name, holdsFor(`${name}IfExists`, wanted)]).toEqual([name, true]);
    }
    for (const name of ['StringNotEquals', 'StringNotLike', 'NumericNotEquals', 'DateNotEquals']) {
      expect([name, holdsFor(name, '1')]).toEqual([name, true]);
    }
    expect(holdsFor('NotIpAddress', '10.0.0.0/8')).toBe(true);
    expect(holdsFor('StringEqualsIfExists', '1', '2')).toBe(false);
    expect([holdsFor('Null', 'true'), holdsFor('Null', 'false')]).toEqual([true, false]);
    expect([holdsFor('Null', true, 'x'), holdsFor('Null', 'false', 'x')]).toEqual([false, true]);
  });

  it('quantify over keys that have several values', () => {
    expect(holdsFor('ForAnyValue:StringEquals', ['a', 'b'], 'x', 'b')).toBe(true);
    expect(holdsFor('ForAnyValue:StringEquals', ['a'], 'x')).toBe(false);
    expect(holdsFor('ForAnyValue:StringEquals', ['a'])).toBe(false);
    expect(holdsFor('ForAnyValue:StringNotEquals', ['a'], 'a', 'b')).toBe(true);
    expect(holdsFor('ForAllValues:StringLike', ['a*', 'b'], 'ab', 'b')).toBe(true);
    expect(holdsFor('ForAllValues:StringLike', ['a*'], 'ab', 'b')).toBe(false);
    expect(holdsFor('ForAllValues:StringEquals', ['a'])).toBe(true);
    expect(holdsFor('ForAllValues:StringNotEquals', ['a'], 'b', 'a')).toBe(false);
  });

  it('must all hold', () => {
    const block = { StringEquals: { a: '1', b: '2' }, Null: { c: 'true' } };
    expect(holds(block, { a: ['1'], b: ['2'] })).toBe(true);
    expect(holds(block, { a: ['1'], b: ['3'] })).toBe(false);
    expect(holds(block, { a: ['1'], b: ['2'], c: ['x'] })).toBe(false);
    expect(holds(undefined)).toBe(true);
  });

  it('know variables, whose values are nothing but texts', () => {
    const home = { StringLike: { 's3:prefix': 'home/${aws:UserName}/*' } };
    const of = (name: string, prefix: string): Record<string, string[]> => ({
      'aws:username': [name],
      's3:prefix': [prefix],
    });
    expect(holds(home, of('ann', 'home/ann/x'))).toBe(true);
    expect(holds(home, of('ann', 'home/bob/x'))).toBe(false);
    expect(holds(home, of('*', 'home/bob/x'))).toBe(false);
    expect(holds(home, { 's3:prefix': ['home//x'] })).toBe(false);
    expect(holds({ StringEquals: { k: "${aws:username, 'none'}" } }, { k: ['none'] })).toBe(true);
    expect(holds({ StringLike: { k: 'a${*}${?}${$}' } }, { k: ['a*?$'] })).toBe(true);
    expect(holds({ StringLike: { k: 'a${*}' } }, { k: ['ab'] })).toBe(false);
    expect(
      holds({ StringEquals: { k: '${aws:username}' } }, { k: ['${aws:username}'] }, { variables: false }),
    ).toBe(true);
  });

  it('that could never be decided are refused', () => {
    const wrong: unknown[] = [
      'x',
      [],
      { StringEqual: { k: 'x' } },
      { stringequals: { k: 'x' } },
      { constructor: { k: 'x' } },
      { StringEquals: 'x' },
      { StringEquals: { k: [] } },
      { StringEquals: { k: { a: 1 } } },
      { StringEquals: { k: null } },
      { StringLike: { k: '${aws:username' } },
      { StringLike: { k: '${}' } },
      { NumericEquals: { k: 'ten' } },
      { DateEquals: { k: 'tomorrow' } },
      { Bool: { k: 'yes' } },
      { IpAddress: { k: '10.0.0.0/33' } },
      { IpAddress: { k: 'localhost' } },
      { ArnEquals: { k: 'user' } },
      { Null: { k: 'maybe' } },
      { NullIfExists: { k: 'true' } },
      { 'ForAnyValue:Null': { k: 'true' } },
      { 'ForSomeValues:StringEquals': { k: 'x' } },
    ];
    for (const block of wrong) {
      expect(() => holds(block), JSON.stringify(block)).toThrow(PolicyError);
    }
    const strict = { knownKey: (key: string) => key === 'aws:sourceip', variables: true };
    expect(() => compileConditions({ StringEquals: { 'aws:SourceIP': 'x' } }, strict)).not.toThrow();
    expect(() => compileConditions({ StringEquals: { 'aws:SourcIp': 'x' } }, strict)).toThrow('aws:SourcIp');
  });
});
