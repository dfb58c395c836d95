import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { StatusInfo } from './rest/service.ts';

/** What a replica counts of its own; the rest is read from its status when somebody asks. */
export interface ReplicaMetrics {
  /** @param outcome `applied`, or why not. */
  writeEnded(outcome: string, durationMs: number): void;
  readEnded(consistency: 'linearizable' | 'stale', outcome: 'ok' | 'failed', durationMs: number): void;
  snapshotEnded(direction: 'sent' | 'received', ok: boolean): void;
  /** The replica is closed: its gauges are shown no more. */
  remove(): void;
}

interface Instruments {
  readonly sources: Map<number, () => StatusInfo>;
  readonly writes: Counter;
  readonly reads: Counter;
  readonly snapshots: Counter;
  readonly writeSeconds: Histogram;
  readonly readSeconds: Histogram;
}

const latencyBuckets = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30];
const roles: readonly StatusInfo['role'][] = [
  'leader',
  'follower',
  'candidate',
  'learner',
  'forming',
  'failed',
];
/** Replicas of one process share the instruments of its registry, told apart by the label `db`. */
const known = new WeakMap<Registry, Instruments>();

/** Adds a replica to a process's metrics (names beginning with `s3d_db_`). */
export function replicaMetrics(
  registry: Registry,
  replica: { readonly id: number; readonly status: () => StatusInfo },
): ReplicaMetrics {
  let instruments = known.get(registry);
  if (instruments === undefined) {
    instruments = makeInstruments(registry);
    known.set(registry, instruments);
  }
  const { sources, writes, reads, snapshots, writeSeconds, readSeconds } = instruments;
  const db = String(replica.id);
  sources.set(replica.id, replica.status);
  return {
    writeEnded: (outcome, durationMs) => {
      writes.inc({ db, outcome });
      writeSeconds.observe({ db }, durationMs / 1000);
    },
    readEnded: (consistency, outcome, durationMs) => {
      reads.inc({ db, consistency, outcome });
      readSeconds.observe({ db, consistency }, durationMs / 1000);
    },
    snapshotEnded: (direction, ok) => snapshots.inc({ db, direction, outcome: ok ? 'ok' : 'failed' }),
    remove: () => void sources.delete(replica.id),
  };
}

function makeInstruments(registry: Registry): Instruments {
  const registers = [registry];
  const sources = new Map<number, () => StatusInfo>();
  statusGauges(registry, sources);
  peerGauges(registry, sources);
  return {
    sources,
    writes: new Counter({
      name: 's3d_db_writes_total',
      help: 'Writes asked of this replica, by how they ended',
      labelNames: ['db', 'outcome'],
      registers,
    }),
    reads: new Counter({
      name: 's3d_db_reads_total',
      help: 'Reads and scans asked of this replica',
      labelNames: ['db', 'consistency', 'outcome'],
      registers,
    }),
    snapshots: new Counter({
      name: 's3d_db_snapshots_total',
      help: 'Snapshots sent to other replicas and received from them',
      labelNames: ['db', 'direction', 'outcome'],
      registers,
    }),
    writeSeconds: new Histogram({
      name: 's3d_db_write_seconds',
      help: 'From a write to its outcome, wherever the leader is',
      labelNames: ['db'],
      buckets: latencyBuckets,
      registers,
    }),
    readSeconds: new Histogram({
      name: 's3d_db_read_seconds',
      help: 'From a read to its answer',
      labelNames: ['db', 'consistency'],
      buckets: latencyBuckets,
      registers,
    }),
  };
}

function statusGauges(registry: Registry, sources: ReadonlyMap<number, () => StatusInfo>): void {
  const gauge = (name: string, help: string, read: (status: StatusInfo) => number | null): void => {
    new Gauge({
      name: `s3d_db_${name}`,
      help,
      labelNames: ['db'],
      registers: [registry],
      collect() {
        this.reset();
        for (const [id, status] of sources) {
          const value = read(status());
          if (value !== null) this.set({ db: String(id) }, value);
        }
      },
    });
  };
  new Gauge({
    name: 's3d_db_role',
    help: 'What the replica is: 1 for its role, 0 for the others',
    labelNames: ['db', 'role'],
    registers: [registry],
    collect() {
      this.reset();
      for (const [id, status] of sources) {
        const { role } = status();
        for (const one of roles) this.set({ db: String(id), role: one }, one === role ? 1 : 0);
      }
    },
  });
  gauge('has_leader', 'Whether the replica sees a leader', (s) => (s.leader_id === null ? 0 : 1));
  gauge('term', 'Raft term', (s) => s.term);
  gauge('commit_index', 'Last entry that is known to be committed', (s) => s.commit_index);
  gauge('applied_index', 'Last entry that the state holds', (s) => s.applied_index);
  gauge('last_index', 'Last entry of the log', (s) => s.last_index);
  gauge('snapshot_index', 'The entry behind which the log begins', (s) => s.log.snapshot_index);
  gauge('voters', 'Voters of the configuration in force', (s) => s.voters.length);
  gauge('learners', 'Learners of the configuration in force', (s) => s.learners.length);
  gauge('log_bytes', 'Bytes of the log on disk', (s) => s.log.bytes);
  gauge('log_syncs', 'fdatasyncs of the log since the start of the process', (s) => s.log.syncs);
  gauge('log_segments', 'Segments of the log on disk', (s) => s.log.segments);
  gauge('disk_free_bytes', 'Free bytes of the disk', (s) => s.disk.free_bytes);
  gauge(
    'disk_reserve_bytes',
    'Below this many free bytes only deletes are taken',
    (s) => s.disk.reserve_bytes,
  );
  gauge('writes_waiting', 'Writes that wait for their turn in the log', (s) => s.queue.writes_waiting);
  gauge('writes_waiting_bytes', 'Bytes of these', (s) => s.queue.writes_waiting_bytes);
  gauge(
    'writes_undecided',
    'Writes in the log whose outcome is not known yet',
    (s) => s.queue.writes_undecided,
  );
  gauge('reads_waiting', 'Reads that wait to be confirmed', (s) => s.queue.reads_waiting);
  gauge('remembered_requests', 'Request ids that are remembered', (s) => s.state.remembered_requests);
  gauge('command_version', 'Version of commands that is used', (s) => s.state.command_version);
}

function peerGauges(registry: Registry, sources: ReadonlyMap<number, () => StatusInfo>): void {
  type Peer = StatusInfo['peers'][number];
  const gauge = (name: string, help: string, read: (peer: Peer) => number | null): void => {
    new Gauge({
      name: `s3d_db_peer_${name}`,
      help,
      labelNames: ['db', 'peer'],
      registers: [registry],
      collect() {
        this.reset();
        for (const [id, status] of sources) {
          for (const peer of status().peers) {
            const value = read(peer);
            if (value !== null) this.set({ db: String(id), peer: String(peer.id) }, value);
          }
        }
      },
    });
  };
  gauge('up', 'Connection to another replica: 1 up, 0.5 suspect, 0 down', (peer) =>
    peer.connection === 'up' ? 1 : peer.connection === 'suspect' ? 0.5 : 0,
  );
  gauge('last_contact_seconds', 'Since its last message', (peer) =>
    peer.last_contact_ms === null ? null : peer.last_contact_ms / 1000,
  );
  gauge('match_index', 'At the leader: last entry known to be durable there', (peer) => peer.match_index);
  gauge('lag_entries', 'At the leader: entries that it lacks', (peer) => peer.lag_entries);
}
