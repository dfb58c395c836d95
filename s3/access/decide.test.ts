import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Credential } from '../../auth/credentials.ts';
import type { Bucket, BucketSetting, ExistingObject } from '../../backend/backend.ts';
import { knownActions } from './actions.ts';
import { encodeAcl, type Acl, type Group, type Permission } from './acl.ts';
import { isAllowed } from './decide.ts';
import { Policies } from './policies.ts';

/**
 * What `docs/ACCESS.md` says, written down again as plainly as can be, without compiling, caching or leaving early.
 */
function slowly(world: World): boolean {
  const { caller, action, key, object, ownership, blocks, statements, bucketAcl } = world;
  const granted = caller !== undefined && caller.grants.some((grant) => grant === '*' || grant === action);
  const own = caller?.account === owner;
  const management = /BucketPolicy$/.test(action);
  if (management && !own) return false;
  if (management && granted && caller.grants.includes('*')) return true;
  const about = statements.filter(
    (statement) =>
      like(statement.action, action) &&
      like(statement.resource, key === '' ? 'arn:aws:s3:::b' : `arn:aws:s3:::b/${key}`) &&
      (statement.referer === undefined || statement.referer === world.referer) &&
      names(statement.principal, caller) !== 'none',
  );
  if (about.some((statement) => statement.effect === 'Deny')) return false;
  const acls = ownership !== 'BucketOwnerEnforced';
  const objectDecides = /^s3:(?:GetObject|GetObjectAcl|PutObjectAcl)$/.test(action);
  const ownerOf = acls && object !== undefined && objectDecides ? object.owner : owner;
  if (granted && caller.account === ownerOf) return true;
  if (ownerOf === owner) {
    for (const statement of about) {
      const how = names(statement.principal, caller);
      const open = statements.some(({ effect, principal }) => effect === 'Allow' && principal === '*');
      if (own && how !== 'account') return true;
      if (!own && !(blocks.includes('RestrictPublicBuckets') && open)) {
        if (caller === undefined || granted) return true;
      }
    }
  }
  if (!acls) return false;
  const onBucket: Record<string, Permission> = { 's3:ListBucket': 'READ', 's3:PutObject': 'WRITE' };
  const onObject: Record<string, Permission> = {
    's3:GetObject': 'READ',
    's3:GetObjectAcl': 'READ_ACP',
    's3:PutObjectAcl': 'WRITE_ACP',
  };
  const wanted = onBucket[action] ?? onObject[action];
  const acl = onBucket[action] === undefined ? object?.acl : bucketAcl;
  return (acl ?? []).some(({ to, permission }) => {
    if (wanted === undefined || (permission !== wanted && permission !== 'FULL_CONTROL')) return false;
    const isPublic = to === 'AllUsers' || to === 'AuthenticatedUsers';
    if (isPublic && blocks.includes('IgnorePublicAcls')) return false;
    if (to === 'AllUsers') return true;
    return granted && (to === 'AuthenticatedUsers' || to === caller.account);
  });
}

function like(pattern: string, text: string): boolean {
  return new RegExp(`^${pattern.replaceAll('*', '.*')}$`, 'i').test(text);
}

function names(principal: string, caller: Caller | undefined): 'none' | 'account' | 'named' | 'everyone' {
  if (principal === '*') return 'everyone';
  if (caller === undefined) return 'none';
  if (principal === `arn:aws:iam::${caller.account}:user/${caller.user}`) return 'named';
  return principal === caller.account ? 'account' : 'none';
}

const owner = 'A';
interface Caller {
  readonly account: string;
  readonly user: string;
  readonly grants: readonly string[];
}
interface World {
  readonly caller: Caller | undefined;
  readonly action: string;
  readonly key: string;
  readonly referer: string | undefined;
  readonly object: { readonly owner: string; readonly acl: readonly Grant[] } | undefined;
  readonly ownership: string | undefined;
  readonly blocks: readonly string[];
  readonly bucketAcl: readonly Grant[];
  readonly statements: readonly {
    readonly effect: string;
    readonly principal: string;
    readonly action: string;
    readonly resource: string;
    readonly referer: string | undefined;
  }[];
}
interface Grant {
  readonly to: string;
  readonly permission: Permission;
}

const actions = [
  's3:GetObject',
  's3:GetObjectAcl',
  's3:PutObjectAcl',
  's3:PutObject',
  's3:ListBucket',
  's3:GetBucketPolicy',
];
const acl = fc.array(
  fc.record({
    to: fc.constantFrom('A', 'B', 'AllUsers', 'AuthenticatedUsers'),
    permission: fc.constantFrom<Permission>('READ', 'WRITE', 'READ_ACP', 'WRITE_ACP', 'FULL_CONTROL'),
  }),
  { maxLength: 3 },
);
const worlds: fc.Arbitrary<World> = fc
  .record({
    caller: fc.option(
      fc.record({
        account: fc.constantFrom('A', 'B'),
        user: fc.constantFrom('ann', 'bob'),
        grants: fc.subarray(['*', ...actions]),
      }),
      { nil: undefined },
    ),
    action: fc.constantFrom(...actions),
    referer: fc.option(fc.constantFrom('x', 'y'), { nil: undefined }),
    object: fc.option(fc.record({ owner: fc.constantFrom('A', 'B'), acl }), { nil: undefined }),
    ownership: fc.option(fc.constantFrom('BucketOwnerEnforced', 'BucketOwnerPreferred', 'ObjectWriter'), {
      nil: undefined,
    }),
    blocks: fc.subarray(['IgnorePublicAcls', 'RestrictPublicBuckets', 'BlockPublicAcls']),
    bucketAcl: acl,
    statements: fc.array(
      fc.record({
        effect: fc.constantFrom('Allow', 'Allow', 'Deny'),
        principal: fc.constantFrom('*', 'A', 'B', 'arn:aws:iam::A:user/ann', 'arn:aws:iam::B:user/bob'),
        action: fc.constantFrom('*', 's3:*', 's3:Get*', 's3:*Object', ...actions),
        resource: fc.constantFrom(
          'arn:aws:s3:::b',
          'arn:aws:s3:::b/*',
          'arn:aws:s3:::*',
          'arn:aws:s3:::b/in/*',
        ),
        referer: fc.option(fc.constantFrom('x', 'y'), { nil: undefined }),
      }),
      { maxLength: 4 },
    ),
  })
  .map((world) => ({ ...world, key: /Object/.test(world.action) ? 'in/k' : '' }));

function aclOf(grants: readonly Grant[]): Acl {
  return grants.map(({ to, permission }) => ({
    permission,
    grantee: to.length === 1 ? { account: to } : { group: to as Group },
  }));
}

const policies = new Policies({ actions: knownActions, knownKey: (key) => key === 'aws:referer' });

function quickly(world: World): boolean {
  const settings = new Map<BucketSetting, string>();
  if (world.ownership !== undefined) settings.set('ownership', world.ownership);
  if (world.blocks.length > 0) settings.set('public-access-block', world.blocks.join(' '));
  settings.set('acl', encodeAcl(aclOf(world.bucketAcl), 'nobody') ?? '[]');
  if (world.statements.length > 0) {
    const statements = world.statements.map(({ effect, principal, action, resource, referer }) => ({
      ...{ Effect: effect, Action: action, Resource: resource },
      Principal: principal === '*' ? '*' : { AWS: principal },
      ...(referer === undefined ? {} : { Condition: { StringEquals: { 'aws:Referer': referer } } }),
    }));
    settings.set('policy', JSON.stringify({ Version: '2012-10-17', Statement: statements }));
  }
  const bucket: Bucket = {
    ...{ name: 'b', owner: { id: owner, displayName: 'a' }, createdMs: 0, region: 'r', public: false },
    settings,
  };
  const object: ExistingObject | undefined =
    world.object === undefined
      ? undefined
      : {
          ...{ key: world.key, versionId: 'null' },
          owner: { id: world.object.owner, displayName: '' },
          acl: encodeAcl(aclOf(world.object.acl), 'nobody') ?? '[]',
        };
  const credential: Credential | undefined =
    world.caller === undefined
      ? undefined
      : {
          ...{ accessKeyId: 'k', secretAccessKey: 's', admin: false },
          accountId: world.caller.account,
          displayName: world.caller.user,
          policy: world.caller.grants.map((grant) => ({
            bucket: '*',
            actions: [grant === '*' ? 's3:*' : grant],
          })),
        };
  const values = (key: string): readonly string[] | undefined =>
    key === 'aws:referer' && world.referer !== undefined ? [world.referer] : undefined;
  return isAllowed({ credential, action: world.action, bucket, key: world.key, object, values }, policies);
}

describe('isAllowed', () => {
  it('agrees with the rules written down plainly', () => {
    fc.assert(
      fc.property(worlds, (world) => {
        expect(quickly(world)).toBe(slowly(world));
      }),
      { numRuns: 5000 },
    );
  });

  it('lets in no more where a statement denies more, or a grant is taken away', () => {
    fc.assert(
      fc.property(worlds, fc.nat(3), (world, at) => {
        if (quickly(world)) return;
        const [first, ...rest] = world.statements;
        const denying = first === undefined ? [] : [{ ...first, effect: 'Deny' }, ...rest];
        expect(quickly({ ...world, bucketAcl: world.bucketAcl.filter((_, i) => i !== at) })).toBe(false);
        // A public policy that restricts itself may stop being public, which lets in whom else it names.
        if (!world.blocks.includes('RestrictPublicBuckets')) {
          expect(quickly({ ...world, statements: denying })).toBe(false);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
