import type { AccountDirectory } from '../../auth/credentials.ts';
import {
  groupUris,
  isCannedAcl,
  maxGrants,
  permissions,
  type Acl,
  type CannedAcl,
  type Grant,
  type Grantee,
  type Group,
  type Permission,
} from '../access/acl.ts';
import { S3Error } from '../errors.ts';
import type { RequestHeaders } from '../http/headers.ts';
import { readXml, type XmlElement } from '../xml/read.ts';

/** The ACL that a request asks for: by name, which means something only once the owners are known, or spelled out. */
export type AskedAcl = { readonly canned: CannedAcl } | { readonly grants: Acl };

const grantHeaders: readonly (readonly [header: string, permission: Permission])[] = [
  ['x-amz-grant-read', 'READ'],
  ['x-amz-grant-write', 'WRITE'],
  ['x-amz-grant-read-acp', 'READ_ACP'],
  ['x-amz-grant-write-acp', 'WRITE_ACP'],
  ['x-amz-grant-full-control', 'FULL_CONTROL'],
];

/**
 * What `x-amz-acl` or the `x-amz-grant-*` headers ask for.
 * @throws S3Error InvalidArgument, InvalidRequest, UnresolvableGrantByEmailAddress
 */
export async function headerAcl(
  headers: RequestHeaders,
  accounts: AccountDirectory,
): Promise<AskedAcl | undefined> {
  const given = grantHeaders.filter(([header]) => headers.has(header));
  const canned = headers.get('x-amz-acl');
  if (canned !== undefined) {
    if (given.length > 0) {
      throw new S3Error('InvalidRequest', 'Specifying both Canned ACLs and Header Grants is not allowed');
    }
    return { canned: readCanned(canned) };
  }
  if (given.length === 0) return undefined;
  const grants: Grant[] = [];
  for (const [header, permission] of given) {
    for (const text of (headers.get(header) ?? '').split(',')) {
      const grantee = await headerGrantee(text.trim(), { header, accounts });
      grants.push({ grantee, permission });
    }
  }
  return { grants: limited(grants) };
}

/** @throws S3Error InvalidArgument */
function readCanned(name: string): CannedAcl {
  if (name === 'aws-exec-read') throw new S3Error('NotImplemented', '', { Header: 'x-amz-acl' });
  if (isCannedAcl(name)) return name;
  throw new S3Error('InvalidArgument', '', { ArgumentName: 'x-amz-acl', ArgumentValue: name });
}

async function headerGrantee(
  text: string,
  from: { readonly header: string; readonly accounts: AccountDirectory },
): Promise<Grantee> {
  const [, type = '', quoted, plain] =
    /^(id|uri|emailAddress)\s*=\s*(?:"([^"]*)"|([^"\s]+))$/i.exec(text) ?? [];
  const value = quoted ?? plain ?? '';
  switch (type.toLowerCase()) {
    case 'id':
      return accountGrantee(value, from.accounts);
    case 'uri':
      return groupGrantee(value);
    case 'emailaddress':
      return emailGrantee(value, from.accounts);
    default:
      throw new S3Error('InvalidArgument', 'Argument format not recognized', {
        ArgumentName: from.header,
        ArgumentValue: text,
      });
  }
}

/**
 * What an `<AccessControlPolicy>` asks for.
 * @param options.ownerId whom the document must name as the owner: an ACL doesn't give things away.
 * @throws S3Error MalformedACLError, AccessDenied, InvalidArgument, UnresolvableGrantByEmailAddress
 */
export async function xmlAcl(
  bytes: Uint8Array,
  options: { readonly accounts: AccountDirectory },
): Promise<{ readonly ownerId: string; readonly grants: Acl }> {
  const document = parseAcl(bytes);
  const [owner] = document.all('Owner');
  const [list, ...more] = document.all('AccessControlList');
  const ownerId = owner?.text('ID');
  if (ownerId === undefined || list === undefined || more.length > 0) throw new S3Error('MalformedACLError');
  const elements = list.all('Grant');
  if (elements.length > maxGrants) throw tooMany();
  const grants: Grant[] = [];
  for (const element of elements) grants.push(await xmlGrant(element, options.accounts));
  return { ownerId, grants };
}

function parseAcl(bytes: Uint8Array): XmlElement {
  try {
    return readXml(bytes, 'AccessControlPolicy');
  } catch (error) {
    if (error instanceof S3Error && error.code === 'MalformedXML') throw new S3Error('MalformedACLError');
    throw error;
  }
}

async function xmlGrant(element: XmlElement, accounts: AccountDirectory): Promise<Grant> {
  const name = element.text('Permission');
  const permission = permissions.find((known) => known === name);
  const [grantee, ...more] = element.all('Grantee');
  if (permission === undefined || grantee === undefined || more.length > 0)
    throw new S3Error('MalformedACLError');
  const id = grantee.text('ID');
  const uri = grantee.text('URI');
  const email = grantee.text('EmailAddress');
  if ([id, uri, email].filter((value) => value !== undefined).length !== 1)
    throw new S3Error('MalformedACLError');
  if (id !== undefined) return { grantee: await accountGrantee(id, accounts), permission };
  if (uri !== undefined) return { grantee: groupGrantee(uri), permission };
  return { grantee: await emailGrantee(email ?? '', accounts), permission };
}

async function accountGrantee(id: string, accounts: AccountDirectory): Promise<Grantee> {
  const account = await accounts.byId(id);
  if (account === undefined) {
    throw new S3Error('InvalidArgument', 'Invalid id', {
      ArgumentName: 'CanonicalUser/ID',
      ArgumentValue: id,
    });
  }
  return { account: account.id };
}

async function emailGrantee(email: string, accounts: AccountDirectory): Promise<Grantee> {
  const account = await accounts.byEmail(email);
  if (account === undefined) throw new S3Error('UnresolvableGrantByEmailAddress');
  return { account: account.id };
}

function groupGrantee(uri: string): Grantee {
  const found = (Object.entries(groupUris) as [Group, string][]).find(([, known]) => known === uri);
  if (found === undefined) {
    throw new S3Error('InvalidArgument', 'Invalid group uri', {
      ArgumentName: 'Group/URI',
      ArgumentValue: uri,
    });
  }
  return { group: found[0] };
}

function limited(grants: Acl): Acl {
  if (grants.length > maxGrants) throw tooMany();
  return grants;
}

function tooMany(): S3Error {
  return new S3Error('InvalidRequest', `An ACL can have at most ${maxGrants} grants.`);
}
