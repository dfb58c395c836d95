import type { Bucket } from '../backend.ts';

/** What S3 calls the version of an object that was written while versioning was not enabled. */
export const NULL_VERSION = 'null';

/** Once enabled, versioning is never off again but suspended. */
export type Versioning = 'Never' | 'Enabled' | 'Suspended';

/** The setting `versioning` holds the word of the VersioningConfiguration. */
export function versioningOf(bucket: Pick<Bucket, 'settings'>): Versioning {
  const text = bucket.settings.get('versioning');
  if (text === undefined) return 'Never';
  if (text === 'Enabled' || text === 'Suspended') return text;
  throw new Error(`a bucket's versioning is neither Enabled nor Suspended but ${text}`);
}
