import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { RequestObservation, S3Metrics } from '../s3/observe.ts';
import type { ClusterView, RepairView } from './admin/cluster_view.ts';

/** Seconds; from a cached HEAD to a part upload. */
const latencyBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** One registry a process: no global state, so that two servers in one program don't share counters. */
export function createRegistry(): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: 's3d_' });
  return registry;
}

/** Counts S3 requests by operation and status. */
export function s3Metrics(registry: Registry): S3Metrics {
  const registers = [registry];
  const inFlight = new Gauge({
    name: 's3d_s3_requests_in_flight',
    help: 'Requests being worked on',
    registers,
  });
  const requests = new Counter({
    name: 's3d_s3_requests_total',
    help: 'Requests answered',
    labelNames: ['operation', 'status'],
    registers,
  });
  const seconds = new Histogram({
    name: 's3d_s3_request_seconds',
    help: 'From the first byte of the request to the last of the answer',
    labelNames: ['operation'],
    buckets: latencyBuckets,
    registers,
  });
  const bytes = new Counter({
    name: 's3d_s3_bytes_total',
    help: 'Bytes of bodies, by direction',
    labelNames: ['direction'],
    registers,
  });
  return {
    requestStarted: () => inFlight.inc(),
    requestFinished: (observation: RequestObservation) => {
      inFlight.dec();
      requests.inc({ operation: observation.operation, status: observation.status });
      seconds.observe({ operation: observation.operation }, observation.durationMs / 1000);
      bytes.inc({ direction: 'in' }, observation.receivedBytes);
      bytes.inc({ direction: 'out' }, observation.sentBytes);
    },
  };
}

export interface ClusterSources {
  readonly view: Pick<ClusterView, 'nodes' | 'repair'>;
  readonly skewsMs: () => ReadonlyMap<string, number>;
}

/** What the cluster looks like from here, read when Prometheus asks. */
export function clusterMetrics(registry: Registry, sources: ClusterSources): void {
  const registers = [registry];
  new Gauge({
    name: 's3d_node_up',
    help: 'Whether a shard node answers: 1 up, 0.5 suspect, 0 down',
    labelNames: ['node'],
    registers,
    async collect() {
      for (const node of await sources.view.nodes())
        this.set({ node: node.id }, { up: 1, suspect: 0.5, down: 0 }[node.state]);
    },
  });
  new Gauge({
    name: 's3d_node_bytes',
    help: "Bytes of a shard node's disk",
    labelNames: ['node', 'kind'],
    registers,
    async collect() {
      for (const node of await sources.view.nodes()) {
        if (node.usedBytes !== undefined) this.set({ node: node.id, kind: 'used' }, node.usedBytes);
        if (node.freeBytes !== undefined) this.set({ node: node.id, kind: 'free' }, node.freeBytes);
      }
    },
  });
  const repair = (name: string, help: string, read: (repair: RepairView) => number): void => {
    new Gauge({
      name,
      help,
      registers,
      async collect() {
        this.set(read(await sources.view.repair()));
      },
    });
  };
  new Gauge({
    name: 's3d_node_shards',
    help: 'Shards on a shard node',
    labelNames: ['node', 'membership'],
    registers,
    async collect() {
      this.reset();
      for (const { id, membership, shards } of await sources.view.nodes())
        if (shards !== undefined) this.set({ node: id, membership }, shards);
    },
  });
  new Gauge({
    name: 's3d_repair_objects',
    help: 'Objects that have fewer shards than promised, by how many more each may lose',
    labelNames: ['spare'],
    registers,
    async collect() {
      this.reset();
      const { bySpare } = await sources.view.repair();
      bySpare.forEach((objects, spare) => this.set({ spare }, objects));
    },
  });
  repair('s3d_repair_bytes', 'Bytes of shards to be rebuilt', (view) => view.bytes);
  repair('s3d_repair_eta_seconds', 'Until no object is short', (view) => view.etaSeconds);
  repair('s3d_rebalance_objects', 'Objects to be moved', (view) => view.rebalance.objectsLeft);
  repair('s3d_rebalance_bytes', 'Bytes to be moved', (view) => view.rebalance.bytesLeft);
  repair('s3d_rebalance_eta_seconds', 'Until all is moved', (view) => view.rebalance.etaSeconds);
  repair(
    's3d_rebalance_moved_objects',
    'Objects moved since the members changed',
    (view) => view.rebalance.movedObjects,
  );
  repair('s3d_audit_orphans', 'Orphans that the last audit found', (view) => view.audit.orphans);
  repair(
    's3d_audit_halted',
    '1 while no orphan is deleted: after a restore, or when there are too many',
    (view) => (view.audit.halted || view.audit.asking.length > 0 ? 1 : 0),
  );
  new Gauge({
    name: 's3d_clock_skew_seconds',
    help: "How far a peer's clock is ahead of this machine's",
    labelNames: ['peer'],
    registers,
    collect() {
      for (const [peer, skewMs] of sources.skewsMs()) this.set({ peer }, skewMs / 1000);
    },
  });
}
