import { decode, encode } from 'cborg';

const version = 1;

/** Of the row in table `state` that says how far placing content anew has come. FORMAT.md gives its value. */
export const rebalanceKey: Uint8Array = Buffer.from('rebalance');

/** Why content is placed anew, where it isn't for a node that joined. */
export interface RebalanceReason {
  readonly node: number;
  /** `down`: for too long. */
  readonly why: string;
}

export interface RebalanceRow {
  /** Names the placement that is aimed at. */
  readonly goal: string;
  readonly reasons: readonly RebalanceReason[];
  /** Whether this pass began after the last write by an older set of members. */
  readonly fenced: boolean;
  /** The content that the pass has come to; undefined: its end. */
  readonly at: Uint8Array | undefined;
  readonly startedMs: number;
  /** 0 while the pass is under way. */
  readonly finishedMs: number;
  readonly passStartedMs: number;
  /** Contents of this pass that could not be moved. */
  readonly waiting: number;
  readonly passMoved: number;
  readonly passMovedBytes: number;
  /** Since `startedMs`. */
  readonly movedObjects: number;
  readonly movedBytes: number;
}

export function encodeRebalanceRow(row: RebalanceRow): Uint8Array {
  const { at, reasons, ...rest } = row;
  return encode([
    version,
    { ...rest, at: at ?? null, reasons: reasons.map((reason) => [reason.node, reason.why]) },
  ]);
}

/** @throws Error when the bytes are no such row that this version can read. */
export function decodeRebalanceRow(value: Uint8Array): RebalanceRow {
  const fields: unknown = decode(value);
  if (!Array.isArray(fields) || fields[0] !== version) {
    throw new Error('the row of the rebalancing is of an unknown version');
  }
  const row: unknown = (fields as readonly unknown[])[1];
  if (typeof row !== 'object' || row === null) throw new Error('the row of the rebalancing is damaged');
  const entries = row as Readonly<Record<string, unknown>>;
  const count = (name: string): number => {
    const found = entries[name];
    if (typeof found !== 'number') throw new Error('the row of the rebalancing is damaged');
    return found;
  };
  return {
    goal: String(entries['goal']),
    reasons: Array.isArray(entries['reasons']) ? entries['reasons'].map(decodeReason) : [],
    fenced: entries['fenced'] === true,
    at: entries['at'] instanceof Uint8Array ? entries['at'] : undefined,
    startedMs: count('startedMs'),
    finishedMs: count('finishedMs'),
    passStartedMs: count('passStartedMs'),
    waiting: count('waiting'),
    passMoved: count('passMoved'),
    passMovedBytes: count('passMovedBytes'),
    movedObjects: count('movedObjects'),
    movedBytes: count('movedBytes'),
  };
}

function decodeReason(value: unknown): RebalanceReason {
  const [node, why] = Array.isArray(value) ? (value as readonly unknown[]) : [];
  if (typeof node !== 'number' || typeof why !== 'string') {
    throw new Error('the row of the rebalancing is damaged');
  }
  return { node, why };
}

/** What is left of a pass, judged by what it has moved so far: content ids are evenly spread. */
export function rebalanceLeft(
  row: RebalanceRow,
  nowMs: number,
): { readonly objects: number; readonly bytes: number; readonly etaSeconds: number } {
  if (row.at === undefined) return { objects: row.waiting, bytes: 0, etaSeconds: 0 };
  const passed = Math.max(Buffer.from(row.at).readUInt32BE(0) / 2 ** 32, 1e-6);
  const rest = (1 - passed) / passed;
  const elapsedMs = Math.max(nowMs - row.passStartedMs, 0);
  return {
    objects: Math.ceil(row.passMoved * rest) + row.waiting,
    bytes: Math.ceil(row.passMovedBytes * rest),
    etaSeconds: Math.ceil((elapsedMs * rest) / 1000),
  };
}
