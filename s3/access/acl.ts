import type { Owner } from '../../backend/backend.ts';

export const permissions = ['FULL_CONTROL', 'READ', 'WRITE', 'READ_ACP', 'WRITE_ACP'] as const;
export type Permission = (typeof permissions)[number];

/** By S3's URIs: everybody, everybody with a key of any account, and whoever writes access logs. */
export const groupUris = {
  AllUsers: 'http://acs.amazonaws.com/groups/global/AllUsers',
  AuthenticatedUsers: 'http://acs.amazonaws.com/groups/global/AuthenticatedUsers',
  LogDelivery: 'http://acs.amazonaws.com/groups/s3/LogDelivery',
} as const;
export type Group = keyof typeof groupUris;

export type Grantee = { readonly account: string } | { readonly group: Group };

export interface Grant {
  readonly grantee: Grantee;
  readonly permission: Permission;
}

/** Everything that an ACL grants; what the owner of the thing may always do isn't among it. */
export type Acl = readonly Grant[];

/** Most grants of one ACL: S3's own limit. */
export const maxGrants = 100;

/** The names that `x-amz-acl` may have. */
const cannedNames = [
  'private',
  'public-read',
  'public-read-write',
  'authenticated-read',
  'bucket-owner-read',
  'bucket-owner-full-control',
  'log-delivery-write',
] as const;
export type CannedAcl = (typeof cannedNames)[number];

export function isCannedAcl(name: string): name is CannedAcl {
  return (cannedNames as readonly string[]).includes(name);
}

/** What a canned ACL stands for. @param bucketOwner absent for the ACL of a bucket. */
export function cannedAcl(
  name: CannedAcl,
  owners: { readonly owner: Owner; readonly bucketOwner?: Owner },
): Acl {
  const full = [{ grantee: { account: owners.owner.id }, permission: 'FULL_CONTROL' }] as const;
  const group = (name: Group, permission: Permission): Grant => ({ grantee: { group: name }, permission });
  const { bucketOwner } = owners;
  switch (name) {
    case 'private':
      return full;
    case 'public-read':
      return [group('AllUsers', 'READ'), ...full];
    case 'public-read-write':
      return [group('AllUsers', 'READ'), group('AllUsers', 'WRITE'), ...full];
    case 'authenticated-read':
      return [group('AuthenticatedUsers', 'READ'), ...full];
    case 'log-delivery-write':
      return [group('LogDelivery', 'WRITE'), group('LogDelivery', 'READ_ACP'), ...full];
    case 'bucket-owner-read':
    case 'bucket-owner-full-control': {
      if (bucketOwner === undefined || bucketOwner.id === owners.owner.id) return full;
      const permission = name === 'bucket-owner-read' ? 'READ' : 'FULL_CONTROL';
      return [...full, { grantee: { account: bucketOwner.id }, permission }];
    }
  }
}

/** Whether it grants anything to everybody, or to whoever has any key: both are public, as S3 sees it. */
export function isPublicAcl(acl: Acl): boolean {
  return acl.some(isPublicGrant);
}

export function isPublicGrant({ grantee }: Grant): boolean {
  return 'group' in grantee && grantee.group !== 'LogDelivery';
}

/** Whether it gives nothing to anybody but the owner. */
export function isOwnersAlone(acl: Acl, ownerId: string): boolean {
  return acl.every(({ grantee }) => 'account' in grantee && grantee.account === ownerId);
}

/** Whether an ACL grants a permission. @param account undefined: nobody in particular. */
export function grantsPermission(acl: Acl, account: string | undefined, permission: Permission): boolean {
  return acl.some(
    (grant) =>
      (grant.permission === permission || grant.permission === 'FULL_CONTROL') &&
      includes(grant.grantee, account),
  );
}

function includes(grantee: Grantee, account: string | undefined): boolean {
  if ('account' in grantee) return grantee.account === account;
  return grantee.group === 'AllUsers' || (grantee.group === 'AuthenticatedUsers' && account !== undefined);
}

const groups = Object.keys(groupUris) as Group[];

/** As it is stored: pairs of indexes and names. Undefined for the default, full control for the owner. */
export function encodeAcl(acl: Acl, ownerId: string): string | undefined {
  const [only] = acl;
  if (
    acl.length === 1 &&
    only?.permission === 'FULL_CONTROL' &&
    'account' in only.grantee &&
    only.grantee.account === ownerId
  ) {
    return undefined;
  }
  return JSON.stringify(
    acl.map(({ grantee, permission }) => [
      permissions.indexOf(permission),
      'account' in grantee ? grantee.account : groups.indexOf(grantee.group),
    ]),
  );
}

/** @throws Error for what `encodeAcl` never wrote. */
export function decodeAcl(text: string | undefined, ownerId: string): Acl {
  if (text === undefined) return [{ grantee: { account: ownerId }, permission: 'FULL_CONTROL' }];
  const items: unknown = JSON.parse(text);
  if (!Array.isArray(items)) throw new Error('a stored ACL is not a list');
  return items.map((item: unknown) => {
    const [permissionAt, to] = Array.isArray(item) ? (item as unknown[]) : [];
    const permission = permissions[permissionAt as number];
    const group = typeof to === 'number' ? groups[to] : undefined;
    if (permission === undefined || (typeof to !== 'string' && group === undefined)) {
      throw new Error('a stored ACL has a wrong grant');
    }
    return { permission, grantee: typeof to === 'string' ? { account: to } : { group: group ?? 'AllUsers' } };
  });
}
