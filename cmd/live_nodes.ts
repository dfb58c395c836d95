import { takesShards, type Member, type MemberSet } from '../backend/distributed/members.ts';
import type { ShardNode } from '../backend/distributed/ports.ts';
import type { DialedPeer } from '../transport/peer.ts';
import { ShardClient } from '../transport/shard_client.ts';
import type { ProcessContext } from './context.ts';
import { dial } from './dial.ts';
import { hostOf } from './roles.ts';
import type { OwnNode } from './shard_nodes.ts';
import { transportDriver } from './transport_driver.ts';

/** The data store bounds its own waits; a slow client's upload may keep a shard's stream waiting for long. */
const shardCallMs = 600_000;

/** A member elsewhere, and the connection to it. */
interface Connection {
  readonly address: string;
  readonly peer: DialedPeer;
  readonly storage: ShardClient;
}

/**
 * The shard nodes as this process reaches them: follows the members, dials those that come, at a new address anew,
 * and lets go of those that were removed.
 */
export class LiveNodes {
  readonly #context: ProcessContext;
  readonly #own: ReadonlyMap<number, OwnNode>;
  readonly #ca: string;
  readonly #connections = new Map<number, Connection>();
  #nodes: readonly ShardNode[] = [];
  #version = 0;

  private constructor(
    context: ProcessContext,
    parts: { readonly own: ReadonlyMap<number, OwnNode>; readonly ca: string },
  ) {
    this.#context = context;
    this.#own = parts.own;
    this.#ca = parts.ca;
  }

  static async open(context: ProcessContext, own: ReadonlyMap<number, OwnNode>): Promise<LiveNodes> {
    const { ca } = await context.identity.certificate(hostOf(context.roles, context.config));
    const nodes = new LiveNodes(context, { own, ca });
    context.lifecycle.add('connections to shard nodes', () => nodes.close());
    return nodes;
  }

  /** All members but those that were removed. */
  get members(): readonly ShardNode[] {
    return this.#nodes;
  }

  /** Connections to the members elsewhere. */
  get peers(): readonly DialedPeer[] {
    return [...this.#connections.values()].map(({ peer }) => peer);
  }

  /** Version of the set that `members` shows. */
  get version(): number {
    return this.#version;
  }

  /** Shows this set from now on. */
  follow(set: MemberSet): void {
    const present = set.members.filter((member) => member.state !== 'removed');
    for (const [id, connection] of this.#connections) {
      const member = present.find((candidate) => candidate.id === id);
      if (member !== undefined && addressOf(member) === connection.address) continue;
      this.#connections.delete(id);
      void this.#close(connection);
    }
    this.#nodes = present.map((member) => this.#node(member));
    this.#version = set.version;
  }

  async close(): Promise<void> {
    const connections = [...this.#connections.values()];
    this.#connections.clear();
    await Promise.all(connections.map((connection) => this.#close(connection)));
  }

  #node(member: Member): ShardNode {
    const { id, host, weight } = member;
    const shown = { id, host, weight, emptying: !takesShards(member) };
    const own = this.#own.get(id);
    if (own !== undefined) {
      const { store } = own;
      return { ...shown, storage: store, state: () => (store.failure === undefined ? 'up' : 'down') };
    }
    const { peer, storage } = this.#connections.get(id) ?? this.#dial(member);
    return { ...shown, storage, state: () => peer.state };
  }

  #dial(member: Member): Connection {
    const { logger, config } = this.#context;
    const peer = dial(this.#context, {
      driver: transportDriver(config),
      host: member.host,
      port: member.port,
      peer: `node-${member.id}`,
      ca: this.#ca,
      onState: (state) => logger.info({ node: member.id, state }, 'shard node changed its state'),
    });
    const connection = {
      address: addressOf(member),
      peer,
      storage: new ShardClient(peer, { deadlineMs: shardCallMs }),
    };
    this.#connections.set(member.id, connection);
    return connection;
  }

  async #close(connection: Connection): Promise<void> {
    try {
      await connection.peer.close();
    } catch (error) {
      this.#context.logger.warn(
        { err: error, peer: connection.peer.id },
        'a connection did not close cleanly',
      );
    }
  }
}

function addressOf(member: Member): string {
  return `${member.host}:${member.port}`;
}
