import type { PolicyGrant } from './credentials.ts';
import { matchesTokens, wildcardTokens } from './wildcard.ts';

/** Whether a whole text matches a pattern in which `*` stands for any run of characters and `?` for any one. */
export function matchesWildcard(pattern: string, text: string): boolean {
  return matchesTokens(wildcardTokens(pattern, { wildcards: true }), text);
}

/**
 * Whether a key's own policy lets it do something. There are only grants; what none of them names is refused.
 *
 * @param action such as `s3:GetObject`. Compared without regard to case, as in IAM.
 * @param bucket the bucket's name, or the empty string for what concerns no bucket, such as `s3:ListAllMyBuckets`:
 * that matches the bucket pattern `*` only.
 */
export function isGranted(policy: readonly PolicyGrant[], action: string, bucket: string): boolean {
  const wanted = action.toLowerCase();
  return policy.some(
    (grant) =>
      matchesWildcard(grant.bucket, bucket) &&
      grant.actions.some((pattern) => matchesWildcard(pattern.toLowerCase(), wanted)),
  );
}
