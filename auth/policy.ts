import type { PolicyGrant } from './credentials.ts';

const star = 0x2a;
const questionMark = 0x3f;

/**
 * Whether a whole text matches a pattern in which `*` stands for any run of characters and `?` for any one.
 *
 * Going back to the last `*` is enough, so the time is at most pattern length times text length, whatever the
 * pattern: a pattern of many stars can't make it explode.
 */
export function matchesWildcard(pattern: string, text: string): boolean {
  let patternAt = 0;
  let textAt = 0;
  let lastStar = -1;
  let starTextAt = 0;
  while (textAt < text.length) {
    const expected = patternAt < pattern.length ? pattern.charCodeAt(patternAt) : -1;
    if (expected === star) {
      lastStar = patternAt;
      starTextAt = textAt;
      patternAt += 1;
    } else if (expected === questionMark || expected === text.charCodeAt(textAt)) {
      patternAt += 1;
      textAt += 1;
    } else if (lastStar >= 0) {
      starTextAt += 1;
      textAt = starTextAt;
      patternAt = lastStar + 1;
    } else {
      return false;
    }
  }
  while (pattern.charCodeAt(patternAt) === star) patternAt += 1;
  return patternAt === pattern.length;
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
