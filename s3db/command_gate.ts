import { firstCommandVersion } from './cluster_rows.ts';
import type { ReplicaId, Status } from './raft/types.ts';

/**
 * When a new version of commands may be used. A replica that meets a command it doesn't know halts, so in a rolling upgrade
 * the leader waits until every member (learners too: they are to become voters) has said, over the connection it has
 * now, that its program knows the version. Then it is turned on by a row that all replicas apply, for good: from then
 * on it doesn't matter who is away, and an older program neither starts nor joins.
 */
export class CommandGate {
  readonly #known = new Map<ReplicaId, number>();

  /** A replica has said what its program knows. */
  report(id: ReplicaId, version: number): void {
    this.#known.set(id, version);
  }

  /** Its process may have been replaced: it must say again. */
  forget(id: ReplicaId): void {
    this.#known.delete(id);
  }

  versionOf(id: ReplicaId): number | undefined {
    return this.#known.get(id);
  }

  /**
   * The version to turn on now, if this replica leads and all agree to more than is in use.
   * @param versions `newest`: what this program knows; `used`: what is turned on.
   */
  next(status: Status, versions: { readonly newest: number; readonly used: number }): number | undefined {
    const { newest, used } = versions;
    if (status.role !== 'leader' || newest <= used) return undefined;
    const { voters, learners } = status.configuration;
    let agreed = newest;
    for (const id of [...voters, ...learners]) {
      if (id === status.id) continue;
      agreed = Math.min(agreed, this.#known.get(id) ?? firstCommandVersion);
    }
    return agreed > used ? agreed : undefined;
  }

  /** Members that have not said what they know. */
  unheard(status: Status): ReplicaId[] {
    const { voters, learners } = status.configuration;
    return [...voters, ...learners].filter((id) => id !== status.id && !this.#known.has(id));
  }
}
