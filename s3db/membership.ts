import { TransportError } from '../transport/errors.ts';
import type { Handler, Peer } from '../transport/transport.ts';
import { commandsIn } from './bootstrap.ts';
import { UnavailableError } from './errors.ts';
import type { RaftDriver } from './driver.ts';
import type { Logger } from './logger.ts';
import { readToEnd, type MemberDirectory } from './peer_links.ts';
import type { ConfigurationChange, ReplicaId } from './raft/types.ts';
import { memberFromJson, memberToJson, type Member } from './replica_identity.ts';

/**
 * A replica that came empty into the place of another joins in three steps, each a committed change of one member: it
 * becomes a learner, the incarnation that held its slot is retired, and once it has caught up it gets its vote. The
 * newcomer asks for the next step until it is a voter; the leader keeps nothing between the steps.
 */
export const joinMethod = 'db.join';

const tooOld = 'TooOld';
const joinTimeoutMs = 2000;
const joinPauseMs = 300;
const complainEveryMs = 10_000;
const changePauseMs = 20;

interface MembershipOptions {
  readonly driver: RaftDriver;
  readonly members: MemberDirectory;
  readonly peers: ReadonlyMap<number, Peer>;
  readonly logger: Logger;
  /** The version of commands that members must know. */
  readonly commandVersion: () => number;
}

/** Takes the next step towards making `member` the voter of its slot, if this replica leads. Undefined: it is done. */
function nextJoinStep(options: MembershipOptions, member: Member): ConfigurationChange | undefined {
  const { voters, learners } = options.driver.status().configuration;
  const { replicaId, slot } = member;
  if (voters.includes(replicaId)) return undefined;
  if (!learners.includes(replicaId)) return { type: 'addLearner', id: replicaId };
  const former = [...voters, ...learners].find(
    (id) => id !== replicaId && options.members.slotOf(id) === slot,
  );
  return former === undefined ? { type: 'promote', id: replicaId } : { type: 'remove', id: former };
}

/** Answers a newcomer. A step that can't be taken now is asked for again. */
export function joinHandler(options: MembershipOptions, heard: (member: Member) => void): Handler {
  return async (call) => {
    const json: unknown = JSON.parse(Buffer.from(call.header).toString('utf8'));
    const member = memberFromJson(json);
    if (member === undefined || call.from !== `db-${member.slot}`) {
      throw new TransportError('remote', 'not a member', { remoteCode: 'InvalidRequest' });
    }
    if (!options.peers.has(member.slot)) {
      throw new TransportError(
        'remote',
        `db ${member.slot} is not configured here: POST /v1/join announces it`,
        {
          remoteCode: 'NotConfigured',
        },
      );
    }
    const needed = options.commandVersion();
    if (typeof json === 'object' && json !== null && commandsIn(json) < needed) {
      throw new TransportError(
        'remote',
        `the cluster uses commands of version ${needed}: a newer program is needed`,
        {
          remoteCode: tooOld,
        },
      );
    }
    heard(member);
    const step = nextJoinStep(options, member);
    if (step === undefined) return {};
    const answer = options.driver.proposeConfiguration(step);
    if (answer === 'wasRemoved') {
      throw new TransportError('remote', 'this incarnation was retired', { remoteCode: answer });
    }
    if (answer === 'proposed') {
      options.logger.info(
        { slot: member.slot, change: step.type, id: step.id.toString() },
        'membership changes',
      );
    }
    return {};
  };
}

interface JoinOptions {
  readonly self: Member;
  /** The newest version of commands that this program knows. */
  readonly commands: number;
  readonly driver: RaftDriver;
  readonly peers: ReadonlyMap<number, Peer>;
  readonly signal: AbortSignal;
  readonly logger: Logger;
}

/** Asks the others to let this replica in, until it is a voter. Resolves early when aborted. */
export async function joinCluster(options: JoinOptions): Promise<void> {
  const { self, driver, peers, signal, logger } = options;
  const header = Buffer.from(JSON.stringify({ ...memberToJson(self), commands: options.commands }));
  let complainAtMs = 0;
  while (!signal.aborted) {
    if (driver.status().configuration.voters.includes(self.replicaId)) {
      logger.info({ slot: self.slot }, 'this replica is a voter now');
      return;
    }
    for (const peer of peers.values()) {
      try {
        await readToEnd(await peer.call(joinMethod, { header }, { deadlineMs: joinTimeoutMs, signal }));
      } catch (error) {
        if (!(error instanceof TransportError)) throw error;
        if (error.remoteCode === 'wasRemoved' || error.remoteCode === tooOld) throw error;
        if (error.remoteCode === 'NotConfigured' && performance.now() >= complainAtMs) {
          complainAtMs = performance.now() + complainEveryMs;
          logger.warn({ peer: peer.id, error: error.message }, 'this replica is not let in yet');
        }
      }
    }
    await sleep(joinPauseMs, signal);
  }
}

/** Proposes a change and waits until it is committed. @throws UnavailableError saying why it can't be. */
export async function changeMember(
  driver: RaftDriver,
  change: ConfigurationChange,
  timeoutMs: number,
): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs;
  const isDone = (): boolean => !isMember(driver, change.id);
  for (;;) {
    const answer = driver.proposeConfiguration(change);
    if (answer === 'notMember' || answer === 'proposed') break;
    if (answer !== 'notReady' && answer !== 'changeInFlight') {
      throw new UnavailableError(`the membership can't be changed now: ${answer}`);
    }
    if (performance.now() >= deadlineMs)
      throw new UnavailableError(`the change did not get its turn: ${answer}`);
    await sleep(changePauseMs);
  }
  const { lastIndex } = driver.status();
  while (!isDone() || driver.status().commit < lastIndex) {
    if (performance.now() >= deadlineMs) throw new UnavailableError('the change was not committed in time');
    await sleep(changePauseMs);
  }
}

/** Hands leadership over and waits until it is another's. @returns whether it is. */
export async function handOver(driver: RaftDriver, to: ReplicaId, timeoutMs: number): Promise<boolean> {
  const deadlineMs = performance.now() + timeoutMs;
  const answer = driver.transferLeadership(to);
  if (answer !== 'started' && answer !== 'inProgress') return false;
  for (;;) {
    const { leader, role, transferee } = driver.status();
    if (leader === to) return true;
    // The core gives up after an election timeout.
    if (role === 'leader' && transferee === 0n) return false;
    if (performance.now() >= deadlineMs) return false;
    await sleep(changePauseMs);
  }
}

function isMember(driver: RaftDriver, id: ReplicaId): boolean {
  const { voters, learners } = driver.status().configuration;
  return voters.includes(id) || learners.includes(id);
}

async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener('abort', done);
  });
}
