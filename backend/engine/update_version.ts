import type { Bucket } from '../backend.ts';
import { commit } from './commit.ts';
import type { EngineContext } from './context.ts';
import { putHead } from './current_version.ts';
import { currentOf, objectOf } from './find_version.ts';
import { checkKey } from './object_keys.ts';
import { versionKey } from './row_keys.ts';
import { encodeVersion, type VersionRow } from './rows.ts';
import {
  headOf,
  readTarget,
  readVersionTarget,
  rowUnchanged,
  unchanged,
  type Target,
  type TargetName,
} from './targets.ts';
import { versioningOf } from './versioning.ts';

interface VersionUpdate extends TargetName {
  readonly versionId?: string;
  /** What of the row is to be otherwise; throws to refuse. Asked again where another writer was faster. */
  readonly change: (bucket: Bucket, row: VersionRow) => VersionRow;
}

/**
 * Changes what is known of a version: it stays the version that it is, with its content, time and ETag. The newest
 * version's row stands in two places, which change together.
 * @throws BackendError NoSuchKey, NoSuchVersion, MethodNotAllowed, NoSuchBucket, or what `authorize` and `change` throw.
 */
export async function updateVersion(
  context: EngineContext,
  request: VersionUpdate,
): Promise<{ readonly versionId?: string }> {
  checkKey(request.key);
  const { versionId } = request;
  return commit(context, async () => {
    const { target, row, conditions } =
      versionId === undefined
        ? await readNewest(context, request)
        : await readNamed(context, { ...request, versionId });
    const bucket = target.bucket.row;
    // What only a head says isn't said in `versions`.
    const { nullMtimeMs: _, ...changed } = request.change(bucket, row);
    const key = versionKey(bucket.name, { key: target.key, mtimeMs: row.mtimeMs });
    return {
      conditions,
      operations: [
        ...headOperations(target, changed),
        { type: 'put' as const, table: 'versions', key, value: encodeVersion(changed) },
      ],
      result: versioningOf(bucket) === 'Never' ? {} : { versionId: row.versionId },
    };
  });
}

async function readNewest(context: EngineContext, request: TargetName) {
  const target = await readTarget(context, request);
  return { target, row: currentOf(target).row, conditions: unchanged(target) };
}

async function readNamed(context: EngineContext, request: TargetName & { readonly versionId: string }) {
  const target = await readVersionTarget(context, request);
  const version = objectOf(target.version, request.versionId);
  const conditions = [...unchanged(target), rowUnchanged('versions', version.key, version)];
  return { target, row: version.row, conditions };
}

function headOperations(target: Target, changed: VersionRow) {
  const head = headOf(target)?.row;
  if (head?.mtimeMs !== changed.mtimeMs) return [];
  const { nullMtimeMs } = head;
  return putHead(target, nullMtimeMs === undefined ? changed : { ...changed, nullMtimeMs });
}
