import { evaluatePolicy } from '../../auth/bucket_policy/evaluate.ts';
import type { Bucket, Owner } from '../../backend/backend.ts';
import { bucketAcl, hasAcls } from '../access/bucket_access.ts';
import type { Policies } from '../access/policies.ts';
import type { LoggingTarget } from './configuration.ts';

const service = 'logging.s3.amazonaws.com';

/** A bucket whose accesses are logged. */
export interface LoggedBucket {
  readonly bucket: string;
  readonly owner: Owner;
  readonly region: string;
  readonly target: LoggingTarget;
}

/**
 * Whether logs of one bucket may be put into another: both are of one account, and the target's policy lets the log
 * delivery service put objects under the prefix, or its ACL lets the log delivery group write.
 * @param delivery.key of a log object; absent: asked before there is one.
 */
export function mayDeliver(
  target: Bucket,
  delivery: {
    readonly source: Pick<LoggedBucket, 'bucket' | 'owner'>;
    readonly prefix: string;
    readonly key?: string;
    readonly policies: Policies;
  },
): boolean {
  if (target.owner.id !== delivery.source.owner.id) return false;
  // Where only a pattern for keys is given the prefix matches it too; a refusal may be about the very key.
  const answers = [delivery.prefix, ...(delivery.key === undefined ? [] : [delivery.key])].map((key) =>
    policyAnswer(target, { ...delivery, key }),
  );
  if (answers.some(({ denied }) => denied)) return false;
  return answers.some(({ allowed }) => allowed) || groupMayWrite(target);
}

function policyAnswer(
  target: Bucket,
  delivery: {
    readonly source: Pick<LoggedBucket, 'bucket' | 'owner'>;
    readonly key: string;
    readonly policies: Policies;
  },
): { readonly denied: boolean; readonly allowed: boolean } {
  const text = target.settings.get('policy');
  if (text === undefined) return { denied: false, allowed: false };
  const { source, key, policies } = delivery;
  const values: ReadonlyMap<string, string> = new Map([
    ['aws:sourcearn', `arn:aws:s3:::${source.bucket}`],
    ['aws:sourceaccount', source.owner.id],
    ['aws:resourceaccount', target.owner.id],
    ['aws:principalisawsservice', 'true'],
    ['aws:principalservicename', service],
    ['aws:securetransport', 'true'],
  ]);
  const { denied, allowed } = evaluatePolicy(policies.of(text, target.name), {
    principal: { kind: 'service', name: service },
    action: 's3:putobject',
    resource: `arn:aws:s3:::${target.name}/${key}`,
    values: (name) => {
      const value = values.get(name);
      return value === undefined ? undefined : [value];
    },
  });
  // What anybody may do isn't meant for the service: it has to be named.
  return { denied, allowed: allowed === 'named' };
}

function groupMayWrite(target: Bucket): boolean {
  if (!hasAcls(target)) return false;
  return bucketAcl(target).some(
    ({ grantee, permission }) =>
      'group' in grantee &&
      grantee.group === 'LogDelivery' &&
      (permission === 'WRITE' || permission === 'FULL_CONTROL'),
  );
}
