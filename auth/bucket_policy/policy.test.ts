import { describe, expect, it } from 'vitest';
import { parsePolicy, type Policy } from './document.ts';
import { PolicyError } from './error.ts';
import { evaluatePolicy, type PolicyAnswer } from './evaluate.ts';
import type { Principal } from './principal.ts';
import { isPublicPolicy } from './public_policy.ts';

const rules = {
  bucket: 'photos',
  actions: new Set(['s3:getobject', 's3:getobjectacl', 's3:putobject', 's3:listbucket']),
  knownKey: (key: string) => /^(aws|s3):/.test(key),
};
const plain = {
  Effect: 'Allow',
  Principal: '*',
  Action: 's3:GetObject',
  Resource: 'arn:aws:s3:::photos/*',
};
const ann: Principal = { kind: 'user', accountId: '111', userName: 'ann' };
const anonymous: Principal = { kind: 'anonymous' };

function policyOf(...statements: unknown[]): Policy {
  return parsePolicy(JSON.stringify({ Version: '2012-10-17', Statement: statements }), rules);
}

function ask(
  policy: Policy,
  question: {
    principal?: Principal;
    action?: string;
    resource?: string;
    values?: Record<string, string[]>;
  } = {},
): PolicyAnswer {
  return evaluatePolicy(policy, {
    principal: question.principal ?? anonymous,
    action: (question.action ?? 's3:GetObject').toLowerCase(),
    resource: question.resource ?? 'arn:aws:s3:::photos/k',
    values: (key) => question.values?.[key],
  });
}

describe('bucket policies', () => {
  it('allow what a statement says, and nothing else', () => {
    const policy = policyOf(plain);
    expect(ask(policy)).toEqual({ denied: false, allowed: 'everyone' });
    expect(ask(policy, { action: 's3:GetObjectAcl' }).allowed).toBe('none');
    expect(ask(policy, { resource: 'arn:aws:s3:::photos' }).allowed).toBe('none');
    expect(ask(policy, { resource: 'arn:aws:s3:::photos2/k' }).allowed).toBe('none');
  });

  it('deny whatever else allows', () => {
    const policy = policyOf(plain, { ...plain, Effect: 'Deny', Resource: 'arn:aws:s3:::photos/secret/*' });
    expect(ask(policy).denied).toBe(false);
    expect(ask(policy, { resource: 'arn:aws:s3:::photos/secret/k' })).toEqual({
      denied: true,
      allowed: 'none',
    });
  });

  it('know actions with wildcards and without case, and their opposite', () => {
    expect(
      ask(policyOf({ ...plain, Action: ['S3:getOBJECT*'] }), { action: 's3:GetObjectAcl' }).allowed,
    ).toBe('everyone');
    expect(ask(policyOf({ ...plain, Action: '*' })).allowed).toBe('everyone');
    const { Action: _, ...rest } = plain;
    const not = policyOf({ ...rest, NotAction: 's3:Get*' });
    expect([ask(not).allowed, ask(not, { action: 's3:PutObject' }).allowed]).toEqual(['none', 'everyone']);
  });

  it('know resources with wildcards and variables, and their opposite', () => {
    const { Resource: _, ...rest } = plain;
    const own = policyOf({ ...rest, Resource: 'arn:aws:s3:::photos/${aws:username}/?*' });
    const values = { 'aws:username': ['ann'] };
    expect(ask(own, { resource: 'arn:aws:s3:::photos/ann/k', values }).allowed).toBe('everyone');
    expect(ask(own, { resource: 'arn:aws:s3:::photos/bob/k', values }).allowed).toBe('none');
    expect(ask(own, { resource: 'arn:aws:s3:::photos/${aws:username}/k' }).allowed).toBe('none');
    const not = policyOf({ ...rest, Effect: 'Deny', NotResource: 'arn:aws:s3:::photos/open/*' });
    expect(ask(not).denied).toBe(true);
    expect(ask(not, { resource: 'arn:aws:s3:::photos/open/k' }).denied).toBe(false);
  });

  it('tell how they name whom they let in', () => {
    const naming = (principal: unknown): PolicyAnswer['allowed'] =>
      ask(policyOf({ ...plain, Principal: principal }), { principal: ann }).allowed;
    expect(naming('*')).toBe('everyone');
    expect(naming({ AWS: '*' })).toBe('everyone');
    expect(naming({ AWS: ['222', '111'] })).toBe('account');
    expect(naming({ AWS: 'arn:aws:iam::111:root' })).toBe('account');
    expect(naming({ CanonicalUser: '111' })).toBe('account');
    expect(naming({ AWS: 'arn:aws:iam::111:user/ann' })).toBe('named');
    expect(naming({ AWS: 'arn:aws:iam::111:user/staff/eu/ann' })).toBe('named');
    expect(naming({ AWS: ['111', 'arn:aws:iam::111:user/ann'] })).toBe('named');
    expect(naming({ AWS: 'arn:aws:iam::222:user/ann' })).toBe('none');
    expect(naming({ AWS: '222' })).toBe('none');
    expect(naming({ Service: 'logging.s3.amazonaws.com' })).toBe('none');
    const service = policyOf({ ...plain, Principal: { Service: 'logging.s3.amazonaws.com' } });
    const logging: Principal = { kind: 'service', name: 'logging.s3.amazonaws.com' };
    expect(ask(service, { principal: logging }).allowed).toBe('named');
    expect(ask(service).allowed).toBe('none');
  });

  it('deny everybody but those that NotPrincipal names', () => {
    const { Principal: _, ...rest } = plain;
    const policy = policyOf({ ...rest, Effect: 'Deny', NotPrincipal: { AWS: '111' } });
    expect(ask(policy, { principal: ann }).denied).toBe(false);
    expect(ask(policy).denied).toBe(true);
    expect(ask(policy, { principal: { kind: 'user', accountId: '222', userName: 'ann' } }).denied).toBe(true);
  });

  it('that are not well-formed are refused, and say why', () => {
    const { Action: _a, Principal: _p, Resource: _r, ...bare } = plain;
    const wrong: readonly (readonly [string, unknown])[] = [
      ['no statement', []],
      ['Effect', [{ ...plain, Effect: 'allow' }]],
      ['two actions', [{ ...plain, NotAction: 's3:GetObject' }]],
      ['no action', [{ ...bare, Principal: '*', Resource: plain.Resource }]],
      ['no principal', [{ ...bare, Action: plain.Action, Resource: plain.Resource }]],
      ['no resource', [{ ...bare, Action: plain.Action, Principal: '*' }]],
      ['unknown member', [{ ...plain, Actions: 's3:GetObject' }]],
      ['unknown action', [{ ...plain, Action: 's3:GetObjects' }]],
      ['other service', [{ ...plain, Action: 'ec2:*' }]],
      ['empty list', [{ ...plain, Action: [] }]],
      ['action is a number', [{ ...plain, Action: 1 }]],
      ['other bucket', [{ ...plain, Resource: 'arn:aws:s3:::videos/*' }]],
      ['no ARN', [{ ...plain, Resource: 'photos/*' }]],
      ['half a variable', [{ ...plain, Resource: 'arn:aws:s3:::photos/${aws:' }]],
      ['role', [{ ...plain, Principal: { AWS: 'arn:aws:iam::111:role/x' } }]],
      ['wildcard in an ARN', [{ ...plain, Principal: { AWS: 'arn:aws:iam::*:root' } }]],
      ['wildcard in a user', [{ ...plain, Principal: { AWS: 'arn:aws:iam::111:user/*' } }]],
      ['federated', [{ ...plain, Principal: { Federated: 'x' } }]],
      ['principal text', [{ ...plain, Principal: 'everyone' }]],
      ['empty principal', [{ ...plain, Principal: {} }]],
      [
        'Allow with NotPrincipal',
        [{ ...bare, Action: plain.Action, Resource: plain.Resource, NotPrincipal: '*' }],
      ],
      ['condition', [{ ...plain, Condition: { StringEquals: { nonsense: 'x' } } }]],
    ];
    for (const [name, statements] of wrong) {
      const text = JSON.stringify({ Version: '2012-10-17', Statement: statements });
      expect(() => parsePolicy(text, rules), name).toThrow(PolicyError);
    }
    for (const text of ['', '{', '[]', 'null', '{"Statement":[]}', `{"Id":"${'x'.repeat(21_000)}"}`]) {
      expect(() => parsePolicy(text, rules), text.slice(0, 20)).toThrow(PolicyError);
    }
    const old = JSON.stringify({ Version: '2010-01-01', Statement: [plain] });
    expect(() => parsePolicy(old, rules)).toThrow('version');
    expect(() => parsePolicy(JSON.stringify({ Statement: plain }), rules)).not.toThrow();
    expect(() =>
      policyOf({ ...plain, Resource: ['arn:aws:s3:::*', '*', 'arn:aws:s3:::ph?tos/*'] }),
    ).not.toThrow();
  });

  it('are public unless they bind everybody to somebody', () => {
    const isPublic = (more: object): boolean => isPublicPolicy(policyOf({ ...plain, ...more }));
    const bound = (condition: object): boolean => isPublic({ Condition: condition });
    expect(isPublic({})).toBe(true);
    expect(isPublic({ Effect: 'Deny' })).toBe(false);
    expect(isPublic({ Principal: { AWS: '111' } })).toBe(false);
    expect(bound({ IpAddress: { 'aws:SourceIp': '10.0.0.0/32' } })).toBe(false);
    expect(bound({ IpAddress: { 'aws:SourceIp': ['10.0.0.0/8', '0.0.0.0/0'] } })).toBe(true);
    expect(bound({ NotIpAddress: { 'aws:SourceIp': '10.0.0.0/8' } })).toBe(true);
    expect(bound({ IpAddressIfExists: { 'aws:SourceIp': '10.0.0.0/8' } })).toBe(true);
    expect(bound({ StringEquals: { 'aws:PrincipalAccount': '111' } })).toBe(false);
    expect(bound({ StringLike: { 'aws:PrincipalAccount': '1*' } })).toBe(true);
    expect(bound({ 'ForAllValues:StringEquals': { 'aws:PrincipalAccount': '111' } })).toBe(true);
    expect(bound({ StringEquals: { 's3:prefix': 'x' } })).toBe(true);
  });
});
