import type { ObjectAclUpdated, UpdateObjectAclRequest } from '../backend.ts';
import { commit } from './commit.ts';
import type { EngineContext } from './context.ts';
import { refuse } from './context.ts';
import { NULL_VERSION } from './current_version.ts';
import { checkKey } from './object_keys.ts';
import { versionKey } from './row_keys.ts';
import { encodeVersion, type VersionRow } from './rows.ts';
import { existingObject, readTarget, unchanged } from './targets.ts';

/**
 * Sets an object's ACL. The object stays the version that it is, with the time and the ETag it has.
 * @throws BackendError NoSuchKey, NoSuchVersion, NoSuchBucket, or what `authorize` and `change` throw.
 */
export async function updateObjectAcl(
  context: EngineContext,
  request: UpdateObjectAclRequest,
): Promise<ObjectAclUpdated> {
  const { bucket, key, versionId } = request;
  checkKey(key);
  return commit(context, async () => {
    const target = await readTarget(context, request);
    if (versionId !== undefined && versionId !== NULL_VERSION) refuseVersion(versionId);
    const current = target.current?.row;
    if (current === undefined) {
      if (versionId !== undefined) refuseVersion(versionId);
      refuse('NoSuchKey', 'The specified key does not exist.', { Key: key });
    }
    const value = encodeVersion(
      withAcl(current, request.change(target.bucket.row, existingObject(key, current))),
    );
    return {
      conditions: unchanged(target),
      operations: [
        { type: 'put', table: 'objects', key: target.currentKey, value },
        { type: 'put', table: 'versions', key: versionKey(bucket, { key, mtimeMs: current.mtimeMs }), value },
      ],
      result: {},
    };
  });
}

function withAcl(row: VersionRow, acl: string | undefined): VersionRow {
  const { acl: _, ...rest } = row;
  return acl === undefined ? rest : { ...rest, acl };
}

function refuseVersion(versionId: string): never {
  return refuse('NoSuchVersion', 'The specified version does not exist.', { VersionId: versionId });
}
