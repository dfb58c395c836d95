import type { BucketSetting, Owner } from '../../backend/backend.ts';
import { encodeLockConfiguration } from '../../backend/object_lock.ts';
import { BackendError } from '../../backend/errors.ts';
import { cannedAcl, encodeAcl } from '../access/acl.ts';
import { objectOwnerships } from '../access/bucket_access.ts';
import { requireGrant } from '../authorization.ts';
import { S3Error } from '../errors.ts';
import type { Call } from '../exchange.ts';
import { emptyReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import { headerAcl } from '../request/acl_request.ts';
import { invalidArgument } from '../request/parameters.ts';
import { refuseUnsupportedFeatures } from '../request/unsupported.ts';
import { readXmlBody } from '../request/xml_body.ts';
import { readXml } from '../xml/read.ts';
import { grantsOf } from './bucket_acl.ts';
import { checkAclGoesWith } from './ownership_controls.ts';

const maxXmlBytes = 64 * 1024;

/** Elements of the configuration that ask for nothing but what is always so. */
const knownElements: ReadonlySet<string> = new Set(['LocationConstraint']);

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html */
export const createBucket: Operation = {
  name: 'CreateBucket',
  async handle(call) {
    refuseUnsupportedFeatures(call.headers);
    const owner = requireGrant(call, 's3:CreateBucket', call.bucket);
    await checkLocation(call);
    const settings = new Map([...(await accessSettings(call, owner)), ...lockSettings(call)]);
    const { backend, region } = call.services;
    try {
      await backend.createBucket({ bucket: call.bucket, owner, region, settings });
    } catch (error) {
      // In its oldest region S3 lets one create one's own bucket again.
      const again = error instanceof BackendError && error.code === 'BucketAlreadyOwnedByYou';
      if (!again || region !== 'us-east-1') throw error;
    }
    return emptyReply(200, { location: `/${encodeURIComponent(call.bucket)}` });
  },
};

/** What the headers say about access to the new bucket. @throws S3Error InvalidArgument, and as in `acl_request.ts`. */
async function accessSettings(call: Call, owner: Owner): Promise<Map<BucketSetting, string>> {
  const settings = new Map<BucketSetting, string>();
  const asked = await headerAcl(call.headers, call.services.accounts);
  const acl = asked === undefined ? cannedAcl('private', { owner }) : grantsOf(asked, owner);
  const header = 'x-amz-object-ownership';
  const text = call.headers.get(header);
  if (text !== undefined) {
    const ownership = objectOwnerships.find((rule) => rule === text);
    if (ownership === undefined) throw invalidArgument(header, text, 'Invalid Object Ownership setting');
    checkAclGoesWith(ownership, { acl, ownerId: owner.id });
    settings.set('ownership', ownership);
  }
  const encoded = encodeAcl(acl, owner.id);
  if (encoded !== undefined) settings.set('acl', encoded);
  return settings;
}

/** Object lock works on versions, so versioning comes with it. @throws S3Error InvalidArgument */
function lockSettings(call: Call): ReadonlyMap<BucketSetting, string> {
  const header = 'x-amz-bucket-object-lock-enabled';
  const text = call.headers.get(header)?.toLowerCase() ?? 'false';
  if (text === 'false') return new Map();
  if (text !== 'true') throw invalidArgument(header, text, `${header} must be true or false.`);
  requireGrant(call, 's3:PutBucketObjectLockConfiguration', call.bucket);
  requireGrant(call, 's3:PutBucketVersioning', call.bucket);
  return new Map([
    ['versioning', 'Enabled'],
    ['object-lock', encodeLockConfiguration({})],
  ]);
}

/**
 * The region asked for must be the one we are in. Without one it is taken to be: clients of stores like this one
 * often leave it out.
 */
async function checkLocation(call: Call): Promise<void> {
  const bytes = await readXmlBody(call, { maxBytes: maxXmlBytes });
  if (bytes.length === 0) return;
  const configuration = readXml(bytes, 'CreateBucketConfiguration');
  for (const name of configuration.names) {
    if (!knownElements.has(name)) throw new S3Error('NotImplemented', '', { Element: name });
  }
  const asked = configuration.text('LocationConstraint')?.trim() ?? '';
  const region = asked === 'EU' ? 'eu-west-1' : asked;
  if (region === '' || region === call.services.region) return;
  throw new S3Error(
    'IllegalLocationConstraintException',
    `The ${asked} location constraint is incompatible for the region specific endpoint this request was sent to.`,
  );
}
