import type { StatusInfo } from '../../s3db/rest/service.ts';

/**
 * A line for each database, and one for what is wrong. `healthy`: there is a leader, and every database of the config answers, votes
 * and has space.
 */
export function describeStatus(statuses: ReadonlyMap<number, StatusInfo | string>): {
  readonly lines: readonly string[];
  readonly healthy: boolean;
} {
  const lines = ['db    role       term   applied      last         log        free       silent peers'];
  const problems: string[] = [];
  let leaders = 0;
  for (const [id, status] of statuses) {
    if (typeof status === 'string') {
      lines.push(`${String(id).padEnd(5)} does not answer: ${status}`);
      problems.push(`db ${id} does not answer`);
      continue;
    }
    if (status.role === 'leader') leaders++;
    lines.push(lineOf(status));
    if (!['leader', 'follower'].includes(status.role)) problems.push(`db ${id} is ${status.role}`);
    if (status.failure !== null) problems.push(`db ${id}: ${status.failure}`);
    if (status.disk.low) problems.push(`db ${id} has less free space than its reserve: writes are refused`);
    if (status.state.restoring) problems.push(`db ${id}: a restore is under way, or was not finished`);
  }
  if (leaders === 0) problems.push('there is no leader');
  return { lines: [...lines, ...problems.map((problem) => `! ${problem}`)], healthy: problems.length === 0 };
}

function lineOf(status: StatusInfo): string {
  const silent = status.peers.filter((peer) => peer.connection !== 'up').map((peer) => String(peer.id));
  const free = status.disk.free_bytes;
  return [
    String(status.id).padEnd(5),
    status.role.padEnd(10),
    String(status.term).padEnd(6),
    String(status.applied_index).padEnd(12),
    String(status.last_index).padEnd(12),
    mebibytes(status.log.bytes).padEnd(10),
    (free === null ? '?' : mebibytes(free)).padEnd(10),
    silent.length === 0 ? '-' : silent.join(', '),
  ].join(' ');
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 1024 / 1024)} MiB`;
}
