import type { Principal } from '../../auth/bucket_policy/principal.ts';
import type { Credential } from '../../auth/credentials.ts';

/** Keys that hold everything in their account: what AWS calls its root. */
export function isRoot(credential: Credential): boolean {
  return (
    credential.admin ||
    credential.policy.some(
      ({ bucket, actions }) =>
        bucket === '*' && actions.some((action) => action === 's3:*' || action === '*'),
    )
  );
}

/** Who the caller is in the words of policies. @param credential undefined: anonymous. */
export function principalOf(credential: Credential | undefined): Principal {
  if (credential === undefined) return { kind: 'anonymous' };
  return { kind: 'user', accountId: credential.accountId, userName: credential.displayName };
}

export function principalArn(credential: Credential): string {
  const name = isRoot(credential) ? 'root' : `user/${credential.displayName}`;
  return `arn:aws:iam::${credential.accountId}:${name}`;
}
