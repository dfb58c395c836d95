import type { EngineContext } from './context.ts';
import { dropHead, dropVersion, lessOf, putHead, type VersionChange } from './current_version.ts';
import { versionKey, versionsOfKey } from './row_keys.ts';
import { decodeVersion, type VersionRow } from './rows.ts';
import { headOf, rowUnchanged, unchanged, type ReadRow, type Target } from './targets.ts';
import { NULL_VERSION } from './versioning.ts';

/**
 * Rows that remove one version for good. Where it was the newest, the one before it takes its place in the same
 * batch, which is conditional on both.
 * @param version its row in `versions`.
 */
export async function removeVersion(
  context: EngineContext,
  target: Target,
  version: ReadRow<VersionRow>,
): Promise<VersionChange> {
  const head = headOf(target)?.row;
  const dropped = dropVersion(context, version);
  const conditions = [...unchanged(target), rowUnchanged('versions', version.key, version)];
  const removed = { row: version.row, growth: lessOf(version.row) };
  if (head?.mtimeMs !== version.row.mtimeMs) {
    const forgets = version.row.versionId === NULL_VERSION && head !== undefined;
    return {
      ...removed,
      conditions,
      operations: [...dropped, ...(forgets ? putHead(target, withoutNull(head)) : [])],
    };
  }
  const next = await versionBefore(context, target, version);
  if (next === undefined) {
    return { ...removed, conditions, operations: [...dropped, ...dropHead(target)] };
  }
  const { nullMtimeMs } = head;
  const promoted =
    nullMtimeMs === undefined || next.row.mtimeMs === nullMtimeMs ? next.row : { ...next.row, nullMtimeMs };
  return {
    ...removed,
    conditions: [...conditions, rowUnchanged('versions', next.key, next)],
    operations: [...dropped, ...putHead(target, promoted)],
  };
}

/** The same in a bucket that was never versioned: there is no other version, so there is nothing to look for. */
export function removeOnly(context: EngineContext, target: Target, row: VersionRow): VersionChange {
  const key = versionKey(target.bucket.row.name, { key: target.key, mtimeMs: row.mtimeMs });
  return {
    row,
    growth: lessOf(row),
    conditions: unchanged(target),
    operations: [...dropVersion(context, { key, row }), ...dropHead(target)],
  };
}

function withoutNull(head: VersionRow): VersionRow {
  const { nullMtimeMs: _, ...rest } = head;
  return rest;
}

/** The newest of the versions that are older than this one. */
async function versionBefore(
  context: EngineContext,
  target: Target,
  version: ReadRow<VersionRow>,
): Promise<ReadRow<VersionRow> | undefined> {
  const bucket = target.bucket.row.name;
  const page = await context.state.scan({
    table: 'versions',
    prefix: versionsOfKey(bucket, target.key),
    startAfter: versionKey(bucket, { key: target.key, mtimeMs: version.row.mtimeMs }),
    limit: 1,
  });
  const [item] = page.items;
  return item === undefined
    ? undefined
    : { key: item.key, bytes: item.value, row: decodeVersion(item.value) };
}
