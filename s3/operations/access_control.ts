import type { AccountDirectory } from '../../auth/credentials.ts';
import type { Owner } from '../../backend/backend.ts';
import { groupUris, type Acl, type Grant } from '../access/acl.ts';
import { S3Error } from '../errors.ts';
import type { Call } from '../exchange.ts';
import { headerAcl, xmlAcl, type AskedAcl } from '../request/acl_request.ts';
import { ownerElement } from '../request/listing.ts';
import { readXmlBody } from '../request/xml_body.ts';
import { element, parent, root } from '../xml/write.ts';

const schemaInstance = 'http://www.w3.org/2001/XMLSchema-instance';
const maxXmlBytes = 128 * 1024;

/** An ACL as S3 shows it: groups first, then accounts, each with the name that it goes by now. */
export async function accessControlPolicy(
  acl: Acl,
  of: { readonly owner: Owner; readonly accounts: AccountDirectory },
): Promise<string> {
  const inGroups = acl.filter(({ grantee }) => 'group' in grantee);
  const byAccount = acl.filter(({ grantee }) => 'account' in grantee);
  const grants: string[] = [];
  for (const grant of [...inGroups, ...byAccount]) grants.push(await grantElement(grant, of));
  return root('AccessControlPolicy', ownerElement('Owner', of.owner), parent('AccessControlList', ...grants));
}

async function grantElement(
  { grantee, permission }: Grant,
  of: { readonly owner: Owner; readonly accounts: AccountDirectory },
): Promise<string> {
  if ('group' in grantee) return grantText('Group', element('URI', groupUris[grantee.group]), permission);
  const account = grantee.account === of.owner.id ? of.owner : await of.accounts.byId(grantee.account);
  return grantText(
    'CanonicalUser',
    element('ID', grantee.account) + element('DisplayName', account?.displayName),
    permission,
  );
}

function grantText(type: string, grantee: string, permission: string): string {
  return (
    `<Grant><Grantee xmlns:xsi="${schemaInstance}" xsi:type="${type}">${grantee}</Grantee>` +
    `${element('Permission', permission)}</Grant>`
  );
}

/** What a PutBucketAcl or PutObjectAcl asks for, and whom it takes for the owner where its XML says so. */
export interface AskedPut {
  readonly asked: AskedAcl;
  readonly ownerId?: string;
}

/**
 * Reads it from the headers or, if they say nothing, from the body.
 * @throws S3Error UnexpectedContent for both, MissingSecurityHeader for neither, and as in `acl_request.ts`.
 */
export async function readAskedAcl(call: Call): Promise<AskedPut> {
  const { accounts } = call.services;
  const fromHeaders = await headerAcl(call.headers, accounts);
  const bytes = await readXmlBody(call, { maxBytes: maxXmlBytes });
  if (fromHeaders !== undefined) {
    if (bytes.length > 0) throw new S3Error('UnexpectedContent');
    return { asked: fromHeaders };
  }
  if (bytes.length === 0) throw new S3Error('MissingSecurityHeader');
  const { ownerId, grants } = await xmlAcl(bytes, { accounts });
  return { asked: { grants }, ownerId };
}
