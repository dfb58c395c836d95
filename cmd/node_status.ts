import { readableBytes } from './byte_sizes.ts';

/** What `GET /nodes` answers, as far as it is shown. */
export interface StatusAnswer {
  readonly nodes: readonly {
    readonly id: number;
    readonly state: string;
    readonly membership: string;
    readonly host: string;
    readonly port: number;
    readonly weight: number;
    readonly shards: number | null;
    readonly used_bytes: number | null;
    readonly free_bytes: number | null;
  }[];
  readonly repair: {
    readonly objects: number;
    readonly bytes: number;
    readonly eta_s: number;
    readonly by_spare: readonly number[];
    readonly reasons: readonly string[];
    readonly rebalance: {
      readonly active: boolean;
      readonly objects_left: number;
      readonly bytes_left: number;
      readonly eta_s: number;
      readonly objects_moved: number;
      readonly waiting: number;
    };
    readonly audit: {
      readonly halted: boolean;
      readonly finished: string | null;
      readonly orphans: number;
      readonly deleted: number;
      readonly asking: readonly {
        readonly node: number;
        readonly orphans: number;
        readonly shards: number;
      }[];
    };
  };
}

/** What an operator reads: a table of the nodes, and what is short or out of place, why, and for how long. */
export function nodeStatus({ nodes, repair }: StatusAnswer): string[] {
  const rows = [
    ['node', 'address', 'state', 'membership', 'weight', 'shards', 'used', 'free'],
    ...nodes.map((node) => [
      String(node.id),
      `${node.host}:${node.port}`,
      node.membership === 'removed' ? '-' : node.state,
      node.membership,
      String(node.weight),
      node.shards === null ? '-' : String(node.shards),
      sizeOf(node.used_bytes),
      sizeOf(node.free_bytes),
    ]),
  ];
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  const table = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return [...table, '', ...shortness(repair), ...moves(repair), ...audit(repair)];
}

function shortness(repair: StatusAnswer['repair']): string[] {
  if (repair.objects === 0) return ['every object is whole, as far as anyone noticed'];
  const spares = repair.by_spare.flatMap((objects, spare) =>
    objects === 0 ? [] : [`${objects} may lose ${spare === 0 ? 'no more shard' : `${spare} more`}`],
  );
  return [
    `${repair.objects} objects are short of shards: ${spares.join(', ')}; ${readableBytes(repair.bytes)} to rebuild, about ${repair.eta_s} s`,
    ...repair.reasons.map((reason) => `  ${reason}`),
  ];
}

function moves({ rebalance, reasons, objects }: StatusAnswer['repair']): string[] {
  if (!rebalance.active) return ['every object is where it belongs'];
  const waiting = rebalance.waiting === 0 ? '' : `, ${rebalance.waiting} wait for a node`;
  const ending =
    rebalance.objects_left === 0 && rebalance.waiting === 0 ? '; waiting for uploads under way to end' : '';
  return [
    `objects are moved: ${rebalance.objects_moved} done, about ${rebalance.objects_left} left (${readableBytes(rebalance.bytes_left)}, ${rebalance.eta_s} s)${waiting}${ending}`,
    ...(objects > 0 ? [] : reasons.map((reason) => `  ${reason}`)),
  ];
}

function audit({ audit: report }: StatusAnswer['repair']): string[] {
  if (report.halted) return ["the audit is halted after a restore; 's3d admin audit resume' lets it go on"];
  return report.asking.map(
    ({ node, orphans, shards }) =>
      `node ${node}: ${orphans} of ${shards} shards are named by no metadata; look why, then 's3d admin audit approve' deletes them`,
  );
}

function sizeOf(bytes: number | null): string {
  return bytes === null ? '-' : readableBytes(bytes);
}
