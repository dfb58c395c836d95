import { sleep, systemClock } from '../backend/clock.ts';
import { MemberRegistry } from '../backend/distributed/member_registry.ts';
import {
  addMember,
  MemberChangeError,
  replaceMember,
  seedMembers,
  type Member,
  type MemberSet,
} from '../backend/distributed/members.ts';
import type { GlobalState } from '../backend/global_state.ts';
import { dialPeer } from '../transport/peer.ts';
import type { ProcessContext } from './context.ts';
import { UsageError } from './errors.ts';
import type { LiveNodes } from './live_nodes.ts';
import { hostOf, type NodeConfig } from './roles.ts';
import { transportDriver } from './transport_driver.ts';

/** How long the old address of a node is asked whether it still answers. */
const probeMs = 3000;
const retryMs = 2000;

/**
 * Follows the members, which the first process of a cluster makes from its config, and sees to it that this process's
 * nodes are among them: a node that the config names and the cluster doesn't know yet joins it.
 * @throws UsageError for a node that was removed, or that another process is already
 */
export async function openMembership(
  context: ProcessContext,
  parts: { readonly state: GlobalState; readonly nodes: LiveNodes },
): Promise<MemberRegistry> {
  const { config, lifecycle, logger } = context;
  const registry = await MemberRegistry.open({
    state: parts.state,
    clock: systemClock,
    logger,
    seeds: seedMembers(config.nodes),
    onChange: (set) => {
      parts.nodes.follow(set);
      if (set.version > 0) logger.info({ version: set.version }, 'the members are known');
    },
  });
  const stop = new AbortController();
  let settling: Promise<void> = Promise.resolve();
  lifecycle.add('membership', async () => {
    stop.abort();
    await settling;
    await registry.close();
  });
  if (registry.current.version > 0) await settle(context, registry);
  else settling = settleLater(context, registry, stop.signal);
  return registry;
}

/** Once the database answers; what would have refused the start ends the process then. */
async function settleLater(
  context: ProcessContext,
  registry: MemberRegistry,
  signal: AbortSignal,
): Promise<void> {
  const isStopped = (): boolean => signal.aborted;
  while (!isStopped()) {
    try {
      if (registry.current.version > 0) {
        await settle(context, registry);
        return;
      }
    } catch (error) {
      if (error instanceof UsageError) {
        context.fatal(error);
        return;
      }
      context.logger.info({ err: error }, 'this node could not be registered yet');
    }
    await sleep(retryMs, { clock: systemClock, signal });
  }
}

async function settle(context: ProcessContext, registry: MemberRegistry): Promise<void> {
  for (const node of context.roles.nodes) {
    const member = registry.current.members.find((candidate) => candidate.id === node.id);
    if (member === undefined) await join(context, registry, node);
    else if (member.state === 'removed') refuseRemoved(node);
    else if (member.host !== node.host || member.port !== node.port) {
      await move(context, registry, { node, member });
    }
  }
}

async function join(context: ProcessContext, registry: MemberRegistry, node: NodeConfig): Promise<void> {
  const { id, host, port, weight = 1 } = node;
  try {
    await registry.change((set) => (isKnown(set, id) ? set : addMember(set, { id, host, port, weight })));
    context.logger.info({ node: id, host, port, weight }, 'this node has joined the cluster');
  } catch (error) {
    if (error instanceof MemberChangeError) throw new UsageError(`-node ${id}: ${error.message}`);
    throw error;
  }
}

/** The config has another address than the cluster: the node has moved, or somebody else is it. */
async function move(
  context: ProcessContext,
  registry: MemberRegistry,
  at: { readonly node: NodeConfig; readonly member: Member },
): Promise<void> {
  const { node, member } = at;
  if (!context.roles.development && (await answers(context, member))) {
    throw new UsageError(
      `-node ${node.id}: node ${node.id} answers at ${member.host}:${member.port}, but the config says ${node.host}:${node.port}; give this one another id, or stop that one`,
    );
  }
  const { id, host, port } = node;
  await registry.change((set) => replaceMember(set, { id, host, port }));
  context.logger.info(
    { node: id, from: `${member.host}:${member.port}`, to: `${host}:${port}` },
    'this node is at another address than before',
  );
}

async function answers(context: ProcessContext, member: Member): Promise<boolean> {
  const { config, identity, roles } = context;
  const { ca } = await identity.certificate(hostOf(roles, config));
  const peer = dialPeer({
    driver: transportDriver(config),
    host: member.host,
    port: member.port,
    peer: `node-${member.id}`,
    self: 'gateway',
    clusterId: identity.clusterId,
    secret: identity.secret,
    tls: { ca },
  });
  try {
    await peer.connected(probeMs);
    return true;
  } catch {
    // Whatever is there, it isn't this node.
    return false;
  } finally {
    await peer.close();
  }
}

function refuseRemoved(node: NodeConfig): never {
  throw new UsageError(
    `-node ${node.id}: node ${node.id} was removed from the cluster; 's3d admin node add' takes it back, with an empty directory`,
  );
}

function isKnown(set: MemberSet, id: number): boolean {
  return set.members.some((member) => member.id === id);
}
