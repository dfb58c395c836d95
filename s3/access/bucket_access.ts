import type { Bucket, BucketSetting } from '../../backend/backend.ts';
import { cannedAcl, decodeAcl, type Acl } from './acl.ts';

export const objectOwnerships = ['BucketOwnerEnforced', 'BucketOwnerPreferred', 'ObjectWriter'] as const;
export type ObjectOwnershipRule = (typeof objectOwnerships)[number];

/** The setting as it stands; undefined where none was ever made. */
export function ownershipSetting(bucket: Settled): ObjectOwnershipRule | undefined {
  const text = bucket.settings.get('ownership');
  return objectOwnerships.find((rule) => rule === text);
}

/** With `BucketOwnerEnforced` there are no ACLs: all objects are the bucket owner's. */
export function hasAcls(bucket: Settled): boolean {
  return ownershipSetting(bucket) !== 'BucketOwnerEnforced';
}

export const publicAccessSwitches = [
  'BlockPublicAcls',
  'IgnorePublicAcls',
  'BlockPublicPolicy',
  'RestrictPublicBuckets',
] as const;
export type PublicAccessSwitch = (typeof publicAccessSwitches)[number];

/** The switches of the public access block that are on. */
export function isBlocked(bucket: Settled, name: PublicAccessSwitch): boolean {
  const text = bucket.settings.get('public-access-block');
  return text !== undefined && text.split(' ').includes(name);
}

type Settled = { readonly settings: ReadonlyMap<BucketSetting, string> };

/** What the bucket's ACL grants. */
export function bucketAcl(bucket: Bucket): Acl {
  return decodeAcl(bucket.settings.get('acl'), bucket.owner.id);
}

/** The same as it is shown: a bucket that the configuration makes public grants everybody reading. */
export function shownBucketAcl(bucket: Bucket): Acl {
  const acl = bucketAcl(bucket);
  if (!bucket.public) return acl;
  const [read] = cannedAcl('public-read', { owner: bucket.owner });
  return read === undefined ? acl : [read, ...acl];
}
