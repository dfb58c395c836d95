/** What the admin listener tells of the cluster; assembled by `cmd/` from the parts that know. */
export interface ClusterView {
  readonly clusterId: string;
  /** Replicas of the metadata database; empty for the filesystem backend. */
  databases(): Promise<readonly DatabaseView[]>;
  nodes(): Promise<readonly NodeView[]>;
  repair(): Promise<RepairView>;
  /** Why requests can't be served right now, one line each; empty when they can. */
  obstacles(): Promise<readonly string[]>;
}

export interface DatabaseView {
  readonly id: number;
  readonly role: 'leader' | 'follower' | 'candidate' | 'learner' | 'unknown';
  readonly up: boolean;
}

export interface NodeView {
  readonly id: number;
  readonly state: 'up' | 'suspect' | 'down';
  readonly host: string;
  readonly port: number;
  readonly weight: number;
  /** Whether shards go there, or are moved away. */
  readonly membership: 'active' | 'draining' | 'drained' | 'removing' | 'removed';
  /** Absent while the node doesn't answer. */
  readonly usedBytes?: number;
  readonly freeBytes?: number;
  readonly shards?: number;
}

/** Objects that have fewer shards than promised, and those that are not where they should be. */
export interface RepairView {
  /** Short of shards, as far as anyone noticed. */
  readonly objects: number;
  /** Of shards that are to be rebuilt. */
  readonly bytes: number;
  /** Seconds until all are whole, at the rate of late or else at the configured one. */
  readonly etaSeconds: number;
  /** Short objects by how many more shards each may lose; the first entry is none. */
  readonly bySpare: readonly number[];
  /** Why, one line each. */
  readonly reasons: readonly string[];
  readonly rebalance: RebalanceView;
  readonly audit: AuditView;
}

export interface RebalanceView {
  readonly active: boolean;
  readonly objectsLeft: number;
  readonly bytesLeft: number;
  readonly etaSeconds: number;
  readonly movedObjects: number;
  readonly movedBytes: number;
  /** Objects that could not be moved in this pass yet. */
  readonly waiting: number;
}

export interface AuditView {
  /** After a restore of the metadata nothing is deleted as an orphan. */
  readonly halted: boolean;
  /** Milliseconds since 1970 of the last audit; undefined before the first. */
  readonly finishedMs?: number | undefined;
  readonly orphans: number;
  readonly deleted: number;
  /** Nodes where an operator has to decide. */
  readonly asking: readonly { readonly node: number; readonly orphans: number; readonly shards: number }[];
}

export const nothingToMove: RebalanceView = {
  active: false,
  objectsLeft: 0,
  bytesLeft: 0,
  etaSeconds: 0,
  movedObjects: 0,
  movedBytes: 0,
  waiting: 0,
};

export const nothingToRepair: RepairView = {
  objects: 0,
  bytes: 0,
  etaSeconds: 0,
  bySpare: [],
  reasons: [],
  rebalance: nothingToMove,
  audit: { halted: false, orphans: 0, deleted: 0, asking: [] },
};
