import type { ShardNode } from '../backend/distributed/ports.ts';
import type { GlobalState } from '../backend/global_state.ts';
import { decodeLocator } from '../backend/distributed/locator.ts';
import { decodeRepairRow, repairPrefix } from '../backend/distributed/repair_rows.ts';
import type { ClusterView, DatabaseView, NodeView, RepairView } from './admin/cluster_view.ts';

/** Asking a node for its usage must not hold up the page. */
const usageMs = 1000;

export interface ViewSources {
  readonly clusterId: string;
  readonly members: readonly ShardNode[];
  readonly databases: () => Promise<readonly DatabaseView[]>;
  readonly state: GlobalState;
  readonly rs: { readonly data: number; readonly parity: number };
  /** Bytes a second. */
  readonly repairRate: number;
}

/** What `/cluster`, `/health/ready` and the metrics say of a distributed backend. */
export function distributedView(sources: ViewSources): ClusterView {
  return {
    clusterId: sources.clusterId,
    databases: sources.databases,
    nodes: () => Promise.all(sources.members.map(viewNode)),
    repair: () => viewRepair(sources),
    obstacles: () => findObstacles(sources),
  };
}

async function viewNode(node: ShardNode): Promise<NodeView> {
  const state = node.state();
  if (state === 'down') return { id: node.id, state };
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), usageMs);
  });
  try {
    const usage = await Promise.race([node.storage.usage(), late]);
    return usage === undefined
      ? { id: node.id, state }
      : { id: node.id, state, usedBytes: usage.usedBytes, freeBytes: usage.freeBytes };
  } catch {
    // It has just gone: its state will say so, and its figures are not known.
    return { id: node.id, state: node.state() };
  } finally {
    clearTimeout(timer);
  }
}

async function findObstacles(sources: ViewSources): Promise<string[]> {
  const { members, rs, state } = sources;
  const obstacles: string[] = [];
  const up = members.filter((node) => node.state() === 'up').length;
  if (up < rs.data) obstacles.push(`${up} shard nodes are up; reading needs ${rs.data}`);
  try {
    await state.exists('state', Buffer.from('health'), { deadlineMs: 2000 });
  } catch (error) {
    obstacles.push(
      `the metadata database does not answer: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  return obstacles;
}

/** Rows looked at for the totals; with more, the figures are a lower bound. */
const maxRepairRows = 10_000;
const rowsPerPage = 1000;

/** Sums up the repair queue: what is short, and how long it takes at the configured rate. */
async function viewRepair(sources: ViewSources): Promise<RepairView> {
  let objects = 0;
  let bytes = 0;
  let startAfter: Uint8Array | undefined;
  do {
    const page = await sources.state.scan({
      table: 'state',
      prefix: repairPrefix,
      limit: rowsPerPage,
      ...(startAfter === undefined ? {} : { startAfter }),
    });
    for (const item of page.items) {
      const row = decodeRepairRow(item.value);
      const content = decodeLocator(row.locator);
      objects++;
      bytes += Math.ceil(content.sizeBytes / content.data) * row.missing.length;
    }
    startAfter = page.next;
  } while (startAfter !== undefined && objects < maxRepairRows);
  return { objects, bytes, etaSeconds: Math.ceil(bytes / sources.repairRate) };
}
