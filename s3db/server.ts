import { Registry } from 'prom-client';
import { authenticate } from '../auth/authenticate.ts';
import { staticCredentials } from '../auth/static_credentials.ts';
import { dialPeer } from '../transport/peer.ts';
import { listenTransport, type ReloadableServer } from '../transport/server.ts';
import type { Peer } from '../transport/transport.ts';
import { greet, greetingOf, firstBoot, helloHandler, helloMethod, type Greeting } from './bootstrap.ts';
import { ClusterMember } from './cluster_member.ts';
import { isDamage } from './damage.ts';
import type { Database } from './database.ts';
import type { ReplicaFailedError } from './driver_errors.ts';
import { MemberDatabase } from './member_database.ts';
import { laneHandlers } from './link/lane_handlers.ts';
import { announcedMembers } from './member_table.ts';
import { replicaMetrics, type ReplicaMetrics } from './metrics.ts';
import { peerIdOf, MemberDirectory } from './peer_links.ts';
import { PeerSet } from './peer_set.ts';
import { enterCluster, openReplicaFiles, type ReplicaFiles, type StartingPoint } from './replica_files.ts';
import {
  configurationDigest,
  saveIdentity,
  type ClusterIdentity,
  type Member,
  type ReplicaIdentity,
} from './replica_identity.ts';
import { listenRest, type RestListener } from './rest/listener.ts';
import type { StatusInfo } from './rest/service.ts';
import type { DbAddress, S3dbServerOptions } from './server_options.ts';
import { noteDamage } from './set_aside.ts';
import { replicaStatus } from './replica_status.ts';
import { ReplicaService } from './replica_service.ts';

/**
 * One replica of the database: its files, its place in the cluster, its REST listener. It listens at once; it serves once
 * it belongs to a cluster, which on a first boot needs every configured replica, and sees a leader.
 */
export class S3dbServer {
  readonly #options: S3dbServerOptions;
  readonly #files: ReplicaFiles;
  readonly #peers: PeerSet;
  readonly #members: MemberDirectory;
  readonly #service: ReplicaService;
  readonly #metrics: ReplicaMetrics;
  readonly #closing = new AbortController();
  readonly #startedMs = performance.now();
  readonly #failed = Promise.withResolvers<never>();
  #identity: ReplicaIdentity;
  #saving: Promise<void> = Promise.resolve();
  #transport: ReloadableServer | undefined;
  #rest: RestListener | undefined;
  #member: ClusterMember | undefined;
  #entering: Promise<void> | undefined;
  /** Peers that were greeted in vain. */
  readonly #unmet = new Set<Peer>();
  #learnTimer: NodeJS.Timeout | undefined;
  #learning: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  private constructor(options: S3dbServerOptions, files: ReplicaFiles) {
    this.#options = options;
    this.#files = files;
    this.#identity = files.identity;
    this.#members = new MemberDirectory(files.identity.members);
    this.#members.set(files.identity);
    const registry = options.registry ?? new Registry();
    // For whoever waits for it to be ready; `onFatal` tells everybody else.
    this.#failed.promise.catch(() => undefined);
    this.#metrics = replicaMetrics(registry, { id: options.id, status: () => this.status() });
    this.#service = new ReplicaService({
      registry,
      metrics: this.#metrics,
      status: (failure) => this.#status(failure),
      self: options,
      addressOf: (slot) => this.#peers.addressOf(slot),
      members: this.#members,
      member: () => this.#member,
      onFatal: (error) => this.#fatal(error),
    });
    const { id, host, port, raftPort } = options;
    this.#peers = new PeerSet({ id, host, port, raftPort }, (address) => this.#dial(address));
  }

  /**
   * Opens the directory and both ports. @throws when either can't be: a directory that can't be trusted, a port that is taken.
   */
  static async open(options: S3dbServerOptions): Promise<S3dbServer> {
    const { directory, id: slot, peers, logger } = options;
    const hasPeers = peers.some((peer) => peer.id !== slot);
    const files = await openReplicaFiles({
      directory,
      slot,
      hasPeers,
      logger,
      nowMs: Date.now(),
      ...(options.logSegmentBytes === undefined ? {} : { logSegmentBytes: options.logSegmentBytes }),
      ...(options.commandForms === undefined ? {} : { commandForms: options.commandForms }),
    });
    const server = new S3dbServer(options, files);
    try {
      await server.#start();
    } catch (error) {
      await server.close();
      throw error;
    }
    return server;
  }

  /** Where REST is served. */
  get host(): string {
    return this.#options.host;
  }

  get port(): number {
    return this.#rest?.port ?? this.#options.port;
  }

  /** What `GET /status` says. */
  status(): StatusInfo {
    return this.#service.status();
  }

  /** Whether it runs and sees a leader. */
  get healthy(): boolean {
    return this.#service.healthy();
  }

  /** Resolves once it sees a leader. @throws UnavailableError, ReplicaFailedError as soon as it has failed */
  async ready(timeoutMs: number): Promise<void> {
    await Promise.race([this.#service.leader(timeoutMs), this.#failed.promise]);
  }

  /** The database through this replica, without the way through HTTP: for gateways in the same process. */
  database(): Database {
    return new MemberDatabase(this.#service);
  }

  async reloadCertificates(tls: S3dbServerOptions['tls']): Promise<void> {
    this.#rest?.reloadCertificates(tls);
    await this.#transport?.reloadCertificates(tls);
  }

  /** Ends what is under way, hands leadership over, closes the files. Takes a few seconds at most. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  #status(failure: Error | undefined): StatusInfo {
    const { replicaId, cluster } = this.#identity;
    return replicaStatus({
      id: this.#options.id,
      incarnation: replicaId.toString(),
      clusterId: cluster?.id,
      startedMs: this.#startedMs,
      nowMs: performance.now(),
      files: this.#files,
      peers: this.#peers,
      members: this.#members,
      member: this.#member,
      failure,
    });
  }

  async #start(): Promise<void> {
    const { host, raftPort, id, tls, transport, logger } = this.#options;
    const { driver, clusterId, secret } = transport;
    const self = peerIdOf(id);
    this.#transport = await listenTransport({
      driver,
      clusterId,
      secret,
      self,
      host,
      port: raftPort,
      tls,
      logger,
      handlers: {
        calls: {
          [helloMethod]: helloHandler({
            self: () => this.#greeting(),
            heard: (greeting) => this.#heard(greeting),
            retired: ({ replicaId, cluster }) =>
              cluster?.id === this.#identity.cluster?.id && (this.#member?.isRetired(replicaId) ?? false),
          }),
          ...laneHandlers(this.#service).calls,
        },
      },
    });
    for (const peer of this.#options.peers) this.#peers.set(peer);
    const { region, credentials } = this.#options;
    const store = staticCredentials([
      { ...credentials, accountId: '', displayName: 's3db', admin: false, policy: [] },
    ]);
    if (this.#files.start !== undefined) await this.#run(this.#identity, this.#files.start);
    else this.#entering = this.#enter();
    this.#rest = await listenRest({
      host,
      port: this.#options.port,
      tls,
      logger,
      service: this.#service,
      authenticator: (request, bodySha256) =>
        authenticate(request, {
          credentials: store,
          nowMs: Date.now(),
          region,
          service: 's3db',
          ...(bodySha256 === undefined ? {} : { bodySha256 }),
        }),
    });
  }

  /** Finds or founds the cluster. Failing at that is fatal, like any failure of the replica. */
  async #enter(): Promise<void> {
    try {
      const { kind, cluster } = await firstBoot({
        identity: this.#identity,
        configurationDigest: this.#configurationDigest(),
        commands: this.#files.state.newestCommandVersion,
        peers: this.#peers.bySlot,
        onGreeting: (greeting) => this.#heard(greeting),
        signal: this.#closing.signal,
        logger: this.#options.logger,
      });
      const founder = kind === 'founder';
      const entered = await enterCluster(this.#options.directory, this.#files, { cluster, founder });
      this.#identity = entered.identity;
      for (const member of cluster.founders) {
        if (this.#members.holderOf(member.slot) === undefined) this.#members.set(member);
      }
      this.#options.logger.info({ cluster: cluster.id, founder }, 'this replica belongs to a cluster now');
      await this.#run(entered.identity, entered.start);
    } catch (error) {
      if (this.#closing.signal.aborted) return;
      this.#service.fail(error);
    }
  }

  async #run(identity: ReplicaIdentity, start: StartingPoint): Promise<void> {
    const options = this.#options;
    const transport = this.#transport;
    const { cluster } = identity;
    if (transport === undefined || cluster === undefined) throw new Error('not in a cluster yet');
    for (const address of await announcedMembers(this.#files.state)) this.#peers.set(address);
    const member = ClusterMember.start({
      identity: { replicaId: identity.replicaId, slot: identity.slot },
      clusterId: new Uint8Array(Buffer.from(cluster.id, 'hex')),
      files: this.#files,
      start,
      directory: options.directory,
      peers: this.#peers,
      members: this.#members,
      onMember: (news) => this.#heard(news),
      logger: options.logger,
      onFatal: (error) => this.#fatal(error),
      onDamage: (error) => this.#service.fail(error),
      onSnapshot: (direction, ok) => this.#metrics.snapshotEnded(direction, ok),
      signal: this.#closing.signal,
      preferredLeaders: options.preferredLeaders ?? [],
      ...(options.preference === undefined ? {} : { preference: options.preference }),
      ...(options.reserveBytes === undefined ? {} : { reserveBytes: options.reserveBytes }),
      ...(options.timing === undefined ? {} : { timing: options.timing }),
      ...(options.retention === undefined ? {} : { retention: options.retention }),
    });
    transport.addHandlers(member.handlers());
    this.#member = member;
    this.#service.entered();
    // The others may have changed their incarnation while this one was away.
    for (const peer of this.#peers.bySlot.values()) this.#meet(peer);
    this.#learnTimer = setInterval(() => {
      this.#learning ??= this.#learn().finally(() => (this.#learning = undefined));
    }, learnEveryMs);
    this.#learnTimer.unref();
  }

  /** Connects to replicas that were announced since. */
  async #learn(): Promise<void> {
    try {
      for (const address of await announcedMembers(this.#files.state)) {
        const before = this.#peers.bySlot.get(address.id);
        this.#peers.set(address);
        const peer = this.#peers.bySlot.get(address.id);
        if (peer !== undefined && peer !== before) this.#meet(peer);
      }
      const unmet = new Set(this.#unmet);
      this.#unmet.clear();
      for (const slot of this.#member?.maintain() ?? []) {
        const peer = this.#peers.bySlot.get(slot);
        if (peer !== undefined) unmet.add(peer);
      }
      for (const peer of unmet) if (peer.state === 'up') this.#meet(peer);
    } catch (error) {
      if (!this.#closing.signal.aborted) this.#service.fail(error);
    }
  }

  #meet(peer: Peer): void {
    greet(peer, this.#greeting(), this.#closing.signal).then(
      (greeting) => {
        if (greeting !== undefined) this.#heard(greeting);
        else this.#unmet.add(peer);
      },
      (error: unknown) => this.#service.fail(error),
    );
  }

  #dial(address: DbAddress): ReturnType<typeof dialPeer> {
    const { id, tls, transport, logger } = this.#options;
    return dialPeer({
      ...transport,
      self: peerIdOf(id),
      peer: peerIdOf(address.id),
      host: address.host,
      port: address.raftPort,
      tls: { ca: tls.ca },
      logger,
      onState: (state) => {
        if (state === 'down') this.#member?.peerDown(address.id);
        const peer = this.#peers.bySlot.get(address.id);
        // A new connection may lead to a new process, with another incarnation or another program.
        if (state === 'up' && peer !== undefined && this.#member !== undefined) this.#meet(peer);
      },
    });
  }

  #heard(member: Member | Greeting): void {
    if ('cluster' in member && this.#isOfAnother(member.cluster)) return;
    if ('commands' in member) this.#member?.knowsCommands(member.replicaId, member.commands);
    if (!this.#members.set({ slot: member.slot, replicaId: member.replicaId })) return;
    if (this.#identity.cluster === undefined) return;
    this.#identity = { ...this.#identity, members: this.#members.list() };
    const saved = this.#identity;
    this.#saving = this.#saving.then(() => saveIdentity(this.#options.directory, saved));
    this.#saving.catch((error: unknown) => this.#service.fail(error));
  }

  /**
   * Whoever belongs to another cluster holds no slot of this one. If that cluster was made from a survivor of this one, because a
   * majority was thought lost for good, there must not be two: this replica steps aside, and joins it at its next start.
   */
  #isOfAnother(other: ClusterIdentity | undefined): boolean {
    const own = this.#identity.cluster;
    if (own === undefined || other === undefined || other.id === own.id) return false;
    if (other.former.includes(own.id)) {
      this.#service.fail(new SupersededError('a survivor of this cluster was made a new cluster'));
    }
    return true;
  }

  /** Damage that was met while running is noted, so that the next start sets the directory aside. */
  #fatal(error: ReplicaFailedError): void {
    const { directory, peers, id, logger } = this.#options;
    const onFatal = (failure: ReplicaFailedError): void => {
      this.#failed.reject(failure);
      this.#options.onFatal(failure);
    };
    const isToLeave = isDamage(error) || error.cause instanceof SupersededError;
    if (!isToLeave || !peers.some((peer) => peer.id !== id)) {
      onFatal(error);
      return;
    }
    this.#saving = this.#saving.then(async () => {
      await noteDamage(directory, error.message, Date.now());
    });
    this.#saving.then(
      () => onFatal(error),
      (failure: unknown) => {
        logger.error({ error: String(failure) }, 'the damage could not be noted');
        onFatal(error);
      },
    );
  }

  #greeting(): Greeting {
    return greetingOf(this.#identity, {
      configurationDigest: this.#configurationDigest(),
      commands: this.#files.state.newestCommandVersion,
    });
  }

  #configurationDigest(): string {
    return configurationDigest(allAddresses(this.#options));
  }

  async #close(): Promise<void> {
    this.#closing.abort();
    this.#metrics.remove();
    clearInterval(this.#learnTimer);
    await this.#entering;
    await this.#member?.handOver();
    await this.#rest?.close();
    await this.#member?.close();
    await this.#learning;
    await this.#peers.close();
    await this.#transport?.close();
    // A failure to save was fatal where it happened; closing only waits for the end of it.
    await this.#saving.catch(() => undefined);
    await this.#files.state.close();
    await this.#files.storage.close();
  }
}

/** Another cluster has taken the place of this replica's. */
class SupersededError extends Error {
  override readonly name = 'SupersededError';
}

/** How soon a replica that was announced is connected to. */
const learnEveryMs = 500;

function allAddresses(options: S3dbServerOptions): DbAddress[] {
  const { id, host, port, raftPort } = options;
  return [...options.peers.filter((peer) => peer.id !== id), { id, host, port, raftPort }];
}
