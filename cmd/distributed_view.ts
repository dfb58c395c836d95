import { decodeLocator } from '../backend/distributed/locator.ts';
import { isEmptying, type MemberSet } from '../backend/distributed/members.ts';
import { auditHaltedKey, auditReportKey, decodeReport } from '../backend/distributed/orphan_audit.ts';
import type { ShardNode } from '../backend/distributed/ports.ts';
import {
  decodeRebalanceRow,
  rebalanceKey,
  rebalanceLeft,
  type RebalanceRow,
} from '../backend/distributed/rebalance_row.ts';
import { decodeRepairRow, repairPrefix } from '../backend/distributed/repair_rows.ts';
import type { GlobalState } from '../backend/global_state.ts';
import { scanPages } from '../backend/state_rows.ts';
import {
  nothingToMove,
  type AuditView,
  type ClusterView,
  type DatabaseView,
  type NodeView,
  type RebalanceView,
  type RepairView,
} from './admin/cluster_view.ts';

/** Asking a node for its usage must not hold up the page. */
const usageMs = 1000;
/** The sums are not made anew more often than this: a page of metrics asks for them several times. */
const keptMs = 1000;

export interface ViewSources {
  readonly clusterId: string;
  readonly nodes: () => readonly ShardNode[];
  readonly members: () => MemberSet;
  readonly databases: () => Promise<readonly DatabaseView[]>;
  readonly state: GlobalState;
  readonly rs: { readonly data: number; readonly parity: number };
  /** Bytes a second. */
  readonly repairRate: number;
}

/** What `/cluster`, `/nodes`, `/health/ready` and the metrics say of a distributed backend. */
export function distributedView(sources: ViewSources): ClusterView {
  return {
    clusterId: sources.clusterId,
    databases: sources.databases,
    nodes: kept(() => viewNodes(sources)),
    repair: kept(() => viewRepair(sources)),
    obstacles: () => findObstacles(sources),
  };
}

/** Answers of the last moment again. */
function kept<T>(make: () => Promise<T>): () => Promise<T> {
  let last: { readonly atMs: number; readonly answer: Promise<T> } | undefined;
  return () => {
    const nowMs = performance.now();
    if (last === undefined || nowMs - last.atMs > keptMs) last = { atMs: nowMs, answer: make() };
    return last.answer;
  };
}

async function viewNodes(sources: ViewSources): Promise<readonly NodeView[]> {
  const nodes = new Map(sources.nodes().map((node) => [node.id, node]));
  return Promise.all(
    sources.members().members.map(async ({ id, host, port, weight, state }) => {
      const node = nodes.get(id);
      const seen = node === undefined ? ({ state: 'down' } as const) : await viewNode(node);
      return { id, host, port, weight, membership: state, ...seen };
    }),
  );
}

async function viewNode(
  node: ShardNode,
): Promise<Pick<NodeView, 'state' | 'usedBytes' | 'freeBytes' | 'shards'>> {
  const state = node.state();
  if (state === 'down') return { state };
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), usageMs);
  });
  try {
    const usage = await Promise.race([node.storage.usage(), late]);
    if (usage === undefined) return { state };
    return { state, usedBytes: usage.usedBytes, freeBytes: usage.freeBytes, shards: usage.shards };
  } catch {
    // It has just gone: its state will say so, and its figures are not known.
    return { state: node.state() };
  } finally {
    clearTimeout(timer);
  }
}

async function findObstacles(sources: ViewSources): Promise<string[]> {
  const { nodes, rs, state } = sources;
  const obstacles: string[] = [];
  const up = nodes().filter((node) => node.state() === 'up').length;
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

/** Sums up the repair queue and what is to be moved: how much, why, and how long it takes. */
async function viewRepair(sources: ViewSources): Promise<RepairView> {
  const seen = new Set<string>();
  const bySpare: number[] = [];
  const shortOn = new Map<string, number>();
  let bytes = 0;
  let movedBytes = 0;
  let rows = 0;
  for await (const page of scanPages(sources.state, {
    table: 'state',
    prefix: repairPrefix,
    limit: rowsPerPage,
  })) {
    for (const item of page.items) {
      rows++;
      const row = decodeRepairRow(item.value);
      const content = decodeLocator(row.locator);
      const name = Buffer.from(content.contentId).toString('base64');
      // Content may have several rows; the most endangered comes first.
      if (seen.has(name)) continue;
      seen.add(name);
      const spare = Math.max(content.parity - row.missing.length, 0);
      while (bySpare.length <= spare) bySpare.push(0);
      bySpare[spare] = (bySpare[spare] ?? 0) + 1;
      bytes += Math.ceil(content.sizeBytes / content.data) * row.missing.length;
      // Rebuilding one shard reads K of them.
      movedBytes += content.sizeBytes;
      for (const index of row.missing) {
        const why = reasonOf(sources, content.placement[index] ?? null);
        shortOn.set(why, (shortOn.get(why) ?? 0) + 1);
      }
    }
    if (rows >= maxRepairRows) break;
  }
  const found = await sources.state.get('state', rebalanceKey);
  const row = found === undefined ? undefined : decodeRebalanceRow(found);
  const reasons = [
    ...[...shortOn].map(([why, count]) => `${count} shards ${why}`),
    ...(row === undefined || row.at === undefined ? [] : reasonsToMove(row)),
  ];
  return {
    objects: seen.size,
    bytes,
    etaSeconds: Math.ceil(movedBytes / sources.repairRate),
    bySpare,
    reasons,
    rebalance: viewRebalance(row, sources.members()),
    audit: await viewAudit(sources.state),
  };
}

function reasonOf(sources: ViewSources, id: number | null): string {
  const node = id === null ? undefined : sources.nodes().find((candidate) => candidate.id === id);
  if (node === undefined)
    return id === null ? 'found no node to go to' : `were on node ${id}, a member no more`;
  const state = node.state();
  return state === 'up'
    ? `are missing or damaged on node ${node.id}, which is up`
    : `wait for node ${node.id}, which is ${state}`;
}

function reasonsToMove(row: RebalanceRow): string[] {
  if (row.reasons.length === 0) return ['content is spread over the members of today'];
  return row.reasons.map(({ node, why }) =>
    why === 'down' ? `node ${node} is down for long: its shards go elsewhere` : `node ${node} is ${why}`,
  );
}

function viewRebalance(row: RebalanceRow | undefined, set: MemberSet): RebalanceView {
  const emptying = set.members.some(isEmptying);
  if (row === undefined) return { ...nothingToMove, active: emptying };
  const left = rebalanceLeft(row, Date.now());
  return {
    active: emptying || row.at !== undefined || row.waiting > 0 || !row.fenced,
    objectsLeft: left.objects,
    bytesLeft: left.bytes,
    etaSeconds: left.etaSeconds,
    movedObjects: row.movedObjects,
    movedBytes: row.movedBytes,
    waiting: row.waiting,
  };
}

async function viewAudit(state: GlobalState): Promise<AuditView> {
  const halted = await state.exists('state', auditHaltedKey);
  const found = await state.get('state', auditReportKey);
  if (found === undefined) return { halted, orphans: 0, deleted: 0, asking: [] };
  const { finishedMs, orphans, deleted, asking } = decodeReport(found);
  return { halted, finishedMs, orphans, deleted, asking };
}
