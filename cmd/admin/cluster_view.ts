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
  /** Absent while the node doesn't answer. */
  readonly usedBytes?: number;
  readonly freeBytes?: number;
}

/** Objects that have fewer shards than promised. */
export interface RepairView {
  readonly objects: number;
  readonly bytes: number;
  /** Seconds until all are whole at the configured rate. */
  readonly etaSeconds: number;
}
