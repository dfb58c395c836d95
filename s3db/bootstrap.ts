import { randomBytes } from 'node:crypto';
import { messageOf, TransportError } from '../transport/errors.ts';
import type { Handler, Peer } from '../transport/transport.ts';
import { firstCommandVersion } from './cluster_rows.ts';
import type { Logger } from './logger.ts';
import { readToEnd } from './peer_links.ts';
import {
  clusterFromJson,
  clusterToJson,
  memberFromJson,
  memberToJson,
  type ClusterIdentity,
  type JoinsOnly,
  type Member,
  type ReplicaIdentity,
} from './replica_identity.ts';

/**
 * First boot. A replica tells each configured peer who it is and hears who they are.
 *
 * - If any peer has a cluster that counts this incarnation among its founders, it is adopted: this replica has voted in
 *   nothing yet, and its log starts as the others' did.
 * - If any peer has a cluster without this incarnation, this replica joins it as a learner (`join.ts`).
 * - A replica that came in the place of a damaged one only joins, the cluster it was in (or what a survivor made of it).
 * - Only if every configured peer answers empty, free to found, with the same configuration, is a cluster born; the replica of the lowest
 *   slot fixes its id and founders, durably before it starts, and the others adopt it. An incarnation belongs to one
 *   cluster for ever, so that of two births (a directory lost in between) at most one can gather a majority.
 */
export interface Greeting extends Member {
  readonly configurationDigest: string;
  /** It may join a cluster but not found one. */
  readonly joinsOnly: boolean;
  readonly cluster: ClusterIdentity | undefined;
  /** The newest version of commands that its program knows. */
  readonly commands: number;
}

type FirstBoot =
  | { readonly kind: 'founder'; readonly cluster: ClusterIdentity }
  | { readonly kind: 'newcomer'; readonly cluster: ClusterIdentity };

export const helloMethod = 'db.hello';
const retiredCode = 'Retired';
const helloTimeoutMs = 1000;
const pauseMs = 150;
const complainEveryMs = 5000;

interface FirstBootOptions {
  readonly identity: ReplicaIdentity;
  readonly configurationDigest: string;
  readonly commands: number;
  /** All other configured replicas, by slot. */
  readonly peers: ReadonlyMap<number, Peer>;
  readonly onGreeting: (greeting: Greeting) => void;
  readonly signal: AbortSignal;
  readonly logger: Logger;
}

/** Resolves once this replica knows its cluster; waits for that as long as the peers take. Rejects when aborted. */
export async function firstBoot(options: FirstBootOptions): Promise<FirstBoot> {
  const { identity, peers, signal, logger } = options;
  const { replicaId, slot } = identity;
  const self = { slot, replicaId };
  let complainAtMs = performance.now() + complainEveryMs;
  for (;;) {
    const greetings = await Promise.all(
      [...peers.values()].map((peer) => greet(peer, greetingOf(identity, options), signal)),
    );
    signal.throwIfAborted();
    const heard = greetings.filter((greeting) => greeting !== undefined);
    for (const greeting of heard) options.onGreeting(greeting);
    const clusters = heard.map(({ cluster }) => cluster).filter((cluster) => cluster !== undefined);
    const { joinsOnly } = identity;
    const cluster = clusters.find((one) => isTheOneToJoin(one, joinsOnly));
    if (cluster !== undefined) {
      const founder = cluster.founders.some((member) => member.replicaId === replicaId);
      if (founder && joinsOnly !== undefined)
        throw new Error('a cluster was founded with a replica that may only join');
      return { kind: founder ? 'founder' : 'newcomer', cluster };
    }
    const alike = heard.every((greeting) => greeting.configurationDigest === options.configurationDigest);
    const lowest = [...peers.keys()].every((other) => other > slot);
    const free = joinsOnly === undefined && heard.every((greeting) => !greeting.joinsOnly);
    if (clusters.length === 0 && heard.length === peers.size && alike && lowest && free) {
      const founders = [self, ...heard.map(({ slot: s, replicaId: r }) => ({ slot: s, replicaId: r }))];
      return { kind: 'founder', cluster: { id: randomBytes(16).toString('hex'), founders, former: [] } };
    }
    if (performance.now() >= complainAtMs) {
      complainAtMs = performance.now() + complainEveryMs;
      const silent = [...peers.keys()].filter((other) => !heard.some((greeting) => greeting.slot === other));
      const differing = heard.filter((g) => g.configurationDigest !== options.configurationDigest);
      const lost = heard.filter((greeting) => greeting.joinsOnly);
      logger.warn(
        {
          silent,
          differentlyConfigured: differing.map((greeting) => greeting.slot),
          setAside: lost.map((greeting) => greeting.slot),
          otherClusters: clusters.map(({ id }) => id),
        },
        joinsOnly === undefined
          ? 'no cluster yet: every [[db]] must answer, with the same [[db]] configuration'
          : 'this replica was set aside and waits for one that still belongs to its cluster',
      );
    }
    await pause(signal);
  }
}

function isTheOneToJoin(cluster: ClusterIdentity, joinsOnly: JoinsOnly | undefined): boolean {
  const { clusterId } = joinsOnly ?? { clusterId: undefined };
  return clusterId === undefined || cluster.id === clusterId || cluster.former.includes(clusterId);
}

/** Tells a peer who we are; undefined when it doesn't answer, or not as itself. @throws when this incarnation was retired. */
export async function greet(peer: Peer, self: Greeting, signal: AbortSignal): Promise<Greeting | undefined> {
  try {
    const header = encodeGreeting(self);
    const answer = await peer.call(helloMethod, { header }, { deadlineMs: helloTimeoutMs, signal });
    await readToEnd(answer);
    const greeting = decodeGreeting(answer.header);
    return greeting !== undefined && peer.id === `db-${greeting.slot}` ? greeting : undefined;
  } catch (error) {
    if (!(error instanceof TransportError)) throw error;
    if (error.remoteCode === retiredCode) {
      throw new Error(
        'the cluster has put another replica in the place of this one: move its directory away to let it join anew',
        { cause: error },
      );
    }
    return undefined;
  }
}

interface HelloOptions {
  readonly self: () => Greeting;
  readonly heard: (greeting: Greeting) => void;
  /** Whether the sender's cluster is this one, and has removed it. */
  readonly retired: (greeting: Greeting) => boolean;
}

/** Answers greetings. An incarnation that was retired is told so, and isn't taken for its slot's holder again. */
export function helloHandler(options: HelloOptions): Handler {
  return async (call) => {
    const greeting = decodeGreeting(call.header);
    if (greeting === undefined || call.from !== `db-${greeting.slot}`) {
      throw new Error(`${call.from} sent a greeting that isn't its own`);
    }
    if (options.retired(greeting)) {
      throw new TransportError('remote', 'this incarnation was retired', { remoteCode: retiredCode });
    }
    options.heard(greeting);
    return { header: encodeGreeting(options.self()) };
  };
}

/** What a replica says of itself. */
export function greetingOf(
  identity: ReplicaIdentity,
  program: { readonly configurationDigest: string; readonly commands: number },
): Greeting {
  const { replicaId, slot, cluster, joinsOnly } = identity;
  const { configurationDigest, commands } = program;
  return { slot, replicaId, configurationDigest, cluster, joinsOnly: joinsOnly !== undefined, commands };
}

function encodeGreeting(greeting: Greeting): Uint8Array {
  const { cluster, configurationDigest, joinsOnly, commands } = greeting;
  return Buffer.from(
    JSON.stringify({
      ...memberToJson(greeting),
      configurationDigest,
      cluster: cluster === undefined ? null : clusterToJson(cluster),
      joinsOnly,
      commands,
    }),
  );
}

function decodeGreeting(header: Uint8Array): Greeting | undefined {
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(header.buffer, header.byteOffset, header.length).toString());
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw new Error(`a greeting can't be read: ${messageOf(error)}`, { cause: error });
  }
  const member = memberFromJson(json);
  if (member === undefined || typeof json !== 'object' || json === null) return undefined;
  if (!('configurationDigest' in json) || typeof json.configurationDigest !== 'string') return undefined;
  const cluster = 'cluster' in json && json.cluster !== null ? clusterFromJson(json.cluster) : undefined;
  const joinsOnly = 'joinsOnly' in json && json.joinsOnly === true;
  const { configurationDigest } = json;
  return { ...member, configurationDigest, cluster, joinsOnly, commands: commandsIn(json) };
}

/** The newest version of commands that the sender of a JSON knows; one that doesn't say knows the first. */
export function commandsIn(json: object): number {
  return 'commands' in json && Number.isSafeInteger(json.commands)
    ? Number(json.commands)
    : firstCommandVersion;
}

async function pause(signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, pauseMs);
    signal.addEventListener('abort', done);
  });
  signal.throwIfAborted();
}
