import type { ObjectAclUpdated, UpdateObjectAclRequest } from '../backend.ts';
import type { EngineContext } from './context.ts';
import type { VersionRow } from './rows.ts';
import { existingObject } from './targets.ts';
import { updateVersion } from './update_version.ts';

/**
 * Sets an object's ACL. The object stays the version that it is, with the time and the ETag it has.
 * @throws BackendError NoSuchKey, NoSuchVersion, NoSuchBucket, or what `authorize` and `change` throw.
 */
export async function updateObjectAcl(
  context: EngineContext,
  request: UpdateObjectAclRequest,
): Promise<ObjectAclUpdated> {
  return updateVersion(context, {
    ...request,
    change: (bucket, row) => withAcl(row, request.change(bucket, existingObject(request.key, row))),
  });
}

function withAcl(row: VersionRow, acl: string | undefined): VersionRow {
  const { acl: _, ...rest } = row;
  return acl === undefined ? rest : { ...rest, acl };
}
