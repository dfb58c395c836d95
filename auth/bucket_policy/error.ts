/** A policy document that can't be taken: S3's MalformedPolicy. */
export class PolicyError extends Error {
  override readonly name = 'PolicyError';
}
