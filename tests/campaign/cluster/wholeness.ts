import { EngineContentIndex } from '../../../backend/distributed/content_index.ts';
import { DistributedState } from '../../../backend/distributed/distributed_state.ts';
import { decodeLocator } from '../../../backend/distributed/locator.ts';
import { decodeMembers, membersKey, type Member } from '../../../backend/distributed/members.ts';
import { shardLength } from '../../../backend/distributed/stripes.ts';
import { deletedKey } from '../../../backend/engine/row_keys.ts';
import { dialPeer, type DialedPeer } from '../../../transport/peer.ts';
import { ShardClient } from '../../../transport/shard_client.ts';
import type { Fleet } from './fleet.ts';

/** What a look at all metadata and all nodes found. */
export interface Findings {
  readonly contents: number;
  readonly shards: number;
  /** Named by the metadata, and not there whole. */
  readonly missing: readonly string[];
  /** There, and named by nothing. */
  readonly orphans: readonly string[];
  /** Contents that lie on nodes that are no members. */
  readonly misplaced: number;
}

/** Compares all metadata with all that nodes hold, shard by shard, reading every byte: not as the cluster itself does. */
export class Wholeness {
  readonly #state: DistributedState;
  readonly #fleet: Fleet;
  readonly #peers = new Map<string, DialedPeer>();

  private constructor(fleet: Fleet, state: DistributedState) {
    this.#fleet = fleet;
    this.#state = state;
  }

  static async open(fleet: Fleet): Promise<Wholeness> {
    return new Wholeness(fleet, new DistributedState(await fleet.database()));
  }

  async members(): Promise<readonly Member[]> {
    const row = await this.#state.get('state', membersKey);
    return row === undefined ? [] : decodeMembers(row).members;
  }

  /** `readAll`: every shard is read to its end, so that damage shows. */
  async look(options: { readonly readAll: boolean }): Promise<Findings> {
    const members = (await this.members()).filter((member) => member.state !== 'removed');
    const clients = new Map(members.map((member) => [member.id, this.#client(member)]));
    const named = new Set<string>();
    const missing: string[] = [];
    const suspects: { contentId: Uint8Array; locator: Uint8Array; lacks: string[] }[] = [];
    let contents = 0;
    let misplaced = 0;
    const index = new EngineContentIndex(this.#state);
    let startAfter: Uint8Array | undefined;
    do {
      const page = await index.list({ startAfter, limit: 500 });
      for (const { contentId, locator } of page.contents) {
        const content = decodeLocator(locator);
        if (content.sizeBytes === 0) continue;
        contents += 1;
        const name = Buffer.from(contentId).toString('hex');
        const isDeleted = await this.#state.exists('objects', deletedKey(contentId));
        content.placement.forEach((node, i) => named.add(`${node ?? '-'} ${name}/${i}`));
        if (isDeleted) continue;
        const found = await Promise.all(
          content.placement.map(async (node, i) => {
            const client = node === null ? undefined : clients.get(node);
            if (client === undefined) {
              misplaced += 1;
              return false;
            }
            const shard = { objectHash: contentId, index: i };
            return isThere(client, shard, { ...options, sizeBytes: shardLength(content) });
          }),
        );
        const lacks = found.flatMap((there, i) =>
          there ? [] : [`${name}/${i} on node ${content.placement[i] ?? '-'}`],
        );
        if (lacks.length > 0) suspects.push({ contentId, locator, lacks });
      }
      startAfter = page.next;
    } while (startAfter !== undefined);
    for (const { contentId, locator, lacks } of suspects) {
      // Deleted or moved while it was looked at: then it says nothing.
      const now = await index.find(contentId);
      if (now !== undefined && Buffer.compare(now, locator) === 0) missing.push(...lacks);
    }
    const { orphans, shards } = await this.#orphans(members, named);
    return { contents, shards, missing, orphans, misplaced };
  }

  async close(): Promise<void> {
    for (const peer of this.#peers.values()) await peer.close();
    await this.#state.close();
  }

  async #orphans(
    members: readonly Member[],
    named: ReadonlySet<string>,
  ): Promise<{ readonly orphans: string[]; readonly shards: number }> {
    const orphans: string[] = [];
    let shards = 0;
    for (const member of members) {
      const client = this.#client(member);
      let startAfter: { objectHash: Uint8Array; index: number } | undefined;
      for (;;) {
        const page = await client.scan({ limit: 5000, ...(startAfter === undefined ? {} : { startAfter }) });
        for (const shard of page) {
          shards += 1;
          const name = `${member.id} ${Buffer.from(shard.objectHash).toString('hex')}/${shard.index}`;
          if (!named.has(name)) orphans.push(`${name} epoch ${shard.epoch}`);
        }
        const last = page.at(-1);
        if (last === undefined) break;
        startAfter = { objectHash: last.objectHash, index: last.index };
      }
    }
    return { orphans, shards };
  }

  #client(member: Member): ShardClient {
    const address = `${member.id} ${member.host}:${member.port}`;
    let peer = this.#peers.get(address);
    if (peer === undefined) {
      peer = dialPeer({
        driver: 'auto',
        host: member.host,
        port: member.port,
        peer: `node-${member.id}`,
        self: 'gateway',
        clusterId: this.#fleet.cluster.id,
        secret: this.#fleet.cluster.secret,
        tls: { ca: this.#fleet.ca },
      });
      this.#peers.set(address, peer);
    }
    return new ShardClient(peer, { deadlineMs: 30_000 });
  }
}

async function isThere(
  client: ShardClient,
  shard: { readonly objectHash: Uint8Array; readonly index: number },
  expected: { readonly sizeBytes: number; readonly readAll: boolean },
): Promise<boolean> {
  try {
    if (!expected.readAll) return (await client.stat(shard))?.sizeBytes === expected.sizeBytes;
    const { stat, body } = await client.get(shard);
    let sizeBytes = 0;
    for await (const piece of body) sizeBytes += piece.byteLength;
    return stat.sizeBytes === expected.sizeBytes && sizeBytes === expected.sizeBytes;
  } catch {
    // Missing, damaged or out of reach: the next look tells whether it stays so.
    return false;
  }
}
