import type { EngineContext } from './context.ts';
import { refuse } from './context.ts';
import type { LoadedBucket } from './bucket_settings.ts';
import type { VersionRow } from './rows.ts';
import { readTarget, readVersion, type ReadRow, type Target, type TargetName } from './targets.ts';

/**
 * The version that a read is about.
 * @throws BackendError NoSuchKey, NoSuchVersion, MethodNotAllowed
 */
export async function findVersion(
  context: EngineContext,
  request: TargetName & { readonly versionId?: string },
): Promise<{ readonly bucket: ReadRow<LoadedBucket>; readonly version: VersionRow }> {
  const { versionId } = request;
  if (versionId === undefined) {
    const target = await readTarget(context, request);
    return { bucket: target.bucket, version: currentOf(target).row };
  }
  const { bucket, version } = await readVersion(context, { ...request, versionId });
  return { bucket, version: objectOf(version, versionId).row };
}

/** A key whose newest version is a delete marker is one that isn't there. @throws BackendError NoSuchKey */
export function currentOf(target: Target): ReadRow<VersionRow> {
  const { current, marker } = target;
  if (current !== undefined) return current;
  return refuse('NoSuchKey', 'The specified key does not exist.', {
    Key: target.key,
    deleteMarker: String(marker !== undefined),
    ...(marker === undefined ? {} : { versionId: marker.row.versionId }),
  });
}

/** A delete marker that is named by its id can only be deleted. @throws BackendError NoSuchVersion, MethodNotAllowed */
export function objectOf(version: ReadRow<VersionRow> | undefined, versionId: string): ReadRow<VersionRow> {
  if (version === undefined) {
    refuse('NoSuchVersion', 'The specified version does not exist.', { VersionId: versionId });
  }
  if (version.row.deleteMarker !== true) return version;
  return refuse('MethodNotAllowed', 'The specified method is not allowed against this resource.', {
    ResourceType: 'DeleteMarker',
    deleteMarker: 'true',
    versionId,
    lastModified: String(version.row.mtimeMs),
  });
}
