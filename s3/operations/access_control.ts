import type { BucketInfo } from '../../backend/backend.ts';
import { ownerElement } from '../request/listing.ts';
import { element, parent, root } from '../xml/write.ts';

const schemaInstance = 'http://www.w3.org/2001/XMLSchema-instance';
const allUsers = 'http://acs.amazonaws.com/groups/global/AllUsers';

/** Who may do what, in the words of an ACL: the owner everything, everyone reading where the bucket is public. */
export function accessControlPolicy(bucket: BucketInfo): string {
  const { owner } = bucket;
  const grants = [
    grant(
      'CanonicalUser',
      element('ID', owner.id) + element('DisplayName', owner.displayName),
      'FULL_CONTROL',
    ),
  ];
  if (bucket.public) grants.push(grant('Group', element('URI', allUsers), 'READ'));
  return root('AccessControlPolicy', ownerElement('Owner', owner), parent('AccessControlList', ...grants));
}

function grant(type: string, grantee: string, permission: string): string {
  return (
    `<Grant><Grantee xmlns:xsi="${schemaInstance}" xsi:type="${type}">${grantee}</Grantee>` +
    `${element('Permission', permission)}</Grant>`
  );
}
