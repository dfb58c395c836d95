import type { Bucket, ObjectExpiration } from '../backend.ts';
import { expirationOf } from '../lifecycle/due.ts';
import type { EngineContext } from './context.ts';
import type { VersionRow } from './rows.ts';

/** What the bucket's lifecycle rules say of its current version. */
export function expirationField(
  context: Pick<EngineContext, 'lifecycleRules'>,
  bucket: Bucket,
  current: { readonly key: string; readonly row: VersionRow },
): { readonly expiration?: ObjectExpiration } {
  const rules = context.lifecycleRules.of(bucket);
  if (rules.length === 0) return {};
  const { mtimeMs, sizeBytes, tags } = current.row;
  const version = { key: current.key, mtimeMs, sizeBytes, tags, deleteMarker: false };
  const expiration = expirationOf(rules, version);
  return expiration === undefined ? {} : { expiration };
}
