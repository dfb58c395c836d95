import type { NodeView, RepairView } from './cluster_view.ts';

/** A node as `/cluster` and `/nodes` show it. */
export function describeNode(node: NodeView): object {
  return {
    id: node.id,
    state: node.state,
    used_bytes: node.usedBytes ?? null,
    free_bytes: node.freeBytes ?? null,
    shards: node.shards ?? null,
    host: node.host,
    port: node.port,
    weight: node.weight,
    membership: node.membership,
  };
}

/** What is short or out of place, as `/cluster` and `/nodes` show it. */
export function describeRepair(repair: RepairView): object {
  const { rebalance, audit } = repair;
  return {
    objects: repair.objects,
    bytes: repair.bytes,
    eta_s: repair.etaSeconds,
    by_spare: repair.bySpare,
    reasons: repair.reasons,
    rebalance: {
      active: rebalance.active,
      objects_left: rebalance.objectsLeft,
      bytes_left: rebalance.bytesLeft,
      eta_s: rebalance.etaSeconds,
      objects_moved: rebalance.movedObjects,
      bytes_moved: rebalance.movedBytes,
      waiting: rebalance.waiting,
    },
    audit: {
      halted: audit.halted,
      finished: audit.finishedMs === undefined ? null : new Date(audit.finishedMs).toISOString(),
      orphans: audit.orphans,
      deleted: audit.deleted,
      asking: audit.asking,
    },
  };
}
