import { messageOf } from '../transport/errors.ts';
import type { CallResponse, Handlers, IncomingCall, Peer, PeerId } from '../transport/transport.ts';
import { isDamage } from './damage.ts';
import type { RaftNetwork } from './driver_ports.ts';
import { asBuffer, bytesEqual } from './key_bytes.ts';
import type { Logger } from './logger.ts';
import { decodeMessage, encodeMessage } from './raft/codec.ts';
import type { Message, ReplicaId } from './raft/types.ts';
import type { Member } from './replica_identity.ts';
import type { StateSnapshot } from './state_machine.ts';

type SnapshotMessage = Extract<Message, { type: 'snapshot' }>;

interface PeerLinksOptions {
  /** 16 bytes; messages of other clusters are dropped. */
  readonly clusterId: Uint8Array;
  /** Connections by slot. */
  readonly peers: ReadonlyMap<number, Peer>;
  readonly members: MemberDirectory;
  readonly openSnapshot: () => Promise<StateSnapshot>;
  /** Stages a snapshot that arrives; resolves with what was staged. */
  readonly stage: (pieces: AsyncIterable<Uint8Array>) => Promise<SnapshotMessage['meta']>;
  readonly receive: (message: Message) => void;
  /** The own state is found damaged while it is sent. */
  readonly onDamage: (error: unknown) => void;
  readonly onSnapshot: (direction: 'sent' | 'received', ok: boolean) => void;
  readonly logger: Logger;
}

const raftNotice = 'raft';
const snapshotMethod = 'raft.snapshot';
/** For the receiver's answer; meanwhile the snapshot must keep moving. */
const snapshotDeadlineMs = 60_000;
const complainEveryMs = 10_000;

/** Who holds which slot, as far as is known. */
export class MemberDirectory {
  readonly #slots = new Map<ReplicaId, number>();
  readonly #holders = new Map<number, ReplicaId>();

  constructor(members: readonly Member[]) {
    for (const member of members) this.set(member);
  }

  /** Whether this is news. */
  set(member: Member): boolean {
    if (this.#holders.get(member.slot) === member.replicaId) return false;
    this.#holders.set(member.slot, member.replicaId);
    // Former holders are kept: a leader must know whose slot they held in order to retire them.
    this.#slots.set(member.replicaId, member.slot);
    return true;
  }

  slotOf(replicaId: ReplicaId): number | undefined {
    return this.#slots.get(replicaId);
  }

  /** Undefined for an incarnation that another has replaced. */
  currentSlotOf(replicaId: ReplicaId): number | undefined {
    const slot = this.#slots.get(replicaId);
    return slot !== undefined && this.#holders.get(slot) === replicaId ? slot : undefined;
  }

  holderOf(slot: number): ReplicaId | undefined {
    return this.#holders.get(slot);
  }

  list(): Member[] {
    return [...this.#slots].map(([replicaId, slot]) => ({ slot, replicaId }));
  }
}

/** Raft's messages over the transport: notices on the raft lane, snapshots as calls on the bulk lane. */
export class PeerLinks implements RaftNetwork {
  readonly #options: PeerLinksOptions;
  readonly #envelopeBytes: number;
  readonly #heardMs = new Map<PeerId, number>();
  #complainAtMs = 0;

  constructor(options: PeerLinksOptions) {
    this.#options = options;
    this.#envelopeBytes = options.clusterId.length;
  }

  /** Milliseconds since a slot's last message; undefined: none yet. */
  sinceContactMs(slot: number): number | undefined {
    const atMs = this.#heardMs.get(peerIdOf(slot));
    return atMs === undefined ? undefined : performance.now() - atMs;
  }

  send(message: Message): void {
    // A full queue or a peer that is away loses the message, as a network may.
    this.#peerOf(message.to)?.notify(raftNotice, this.#seal(message));
  }

  async sendSnapshot(message: SnapshotMessage): Promise<boolean> {
    const { logger, openSnapshot } = this.#options;
    const peer = this.#peerOf(message.to);
    if (peer === undefined) return false;
    const snapshot = await openSnapshot();
    try {
      if (snapshot.meta.index < message.meta.index) return false;
      const sent: SnapshotMessage = { ...message, meta: snapshot.meta };
      logger.info({ peer: peer.id, index: snapshot.meta.index }, 'sending a snapshot');
      const answer = await peer.call(
        snapshotMethod,
        { header: this.#seal(sent), body: this.#watched(snapshot.pieces()) },
        { deadlineMs: snapshotDeadlineMs, lane: 'bulk' },
      );
      await readToEnd(answer);
      this.#options.onSnapshot('sent', true);
      return true;
    } catch (error) {
      this.#options.onSnapshot('sent', false);
      logger.warn({ peer: peer.id, error: messageOf(error) }, 'a snapshot could not be sent');
      return false;
    } finally {
      await snapshot.close();
    }
  }

  handlers(): Handlers {
    return {
      calls: { [snapshotMethod]: (call) => this.#receiveSnapshot(call) },
      notices: { [raftNotice]: (from, payload) => this.#receive(from, payload) },
    };
  }

  async *#watched(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    try {
      yield* pieces;
    } catch (error) {
      if (isDamage(error)) this.#options.onDamage(error);
      throw error;
    }
  }

  #receive(from: PeerId, payload: Uint8Array): void {
    const message = this.#open(from, payload);
    if (message !== undefined && message.type !== 'snapshot') this.#options.receive(message);
  }

  async #receiveSnapshot(call: IncomingCall): Promise<{ header?: Uint8Array }> {
    const message = this.#open(call.from, call.header);
    if (message?.type !== 'snapshot') throw new Error('not a snapshot of a member of this cluster');
    let meta: SnapshotMessage['meta'];
    try {
      meta = await this.#options.stage(call.body);
    } catch (error) {
      this.#options.onSnapshot('received', false);
      throw error;
    }
    this.#options.onSnapshot('received', true);
    this.#options.logger.info({ from: call.from, index: meta.index }, 'a snapshot is staged');
    this.#options.receive({ ...message, meta });
    return {};
  }

  #seal(message: Message): Uint8Array {
    const pieces = encodeMessage(message);
    let length = this.#envelopeBytes;
    for (const piece of pieces) length += piece.length;
    const sealed = new Uint8Array(length);
    sealed.set(this.#options.clusterId);
    let at = this.#envelopeBytes;
    for (const piece of pieces) {
      sealed.set(piece, at);
      at += piece.length;
    }
    return sealed;
  }

  /** Undefined for what isn't of this cluster or doesn't come from the slot whose holder it claims to be from. */
  #open(from: PeerId, payload: Uint8Array): Message | undefined {
    const { clusterId, members, logger } = this.#options;
    if (!bytesEqual(payload.subarray(0, this.#envelopeBytes), clusterId)) {
      this.#complain(from);
      return undefined;
    }
    // A copy of its own: entries stay in memory as views of it, longer than the transport's buffer should.
    const message = decodeMessage(new Uint8Array(asBuffer(payload).subarray(this.#envelopeBytes)));
    const slot = members.currentSlotOf(message.from);
    if (slot === undefined || peerIdOf(slot) !== from) {
      logger.debug({ from, type: message.type }, 'a message of a replica that is not known was dropped');
      return undefined;
    }
    this.#heardMs.set(from, performance.now());
    return message;
  }

  /** Now and then: such messages come as often as heartbeats. */
  #complain(from: PeerId): void {
    const nowMs = performance.now();
    if (nowMs < this.#complainAtMs) return;
    this.#complainAtMs = nowMs + complainEveryMs;
    this.#options.logger.warn({ from }, 'messages of another cluster are dropped');
  }

  #peerOf(replicaId: ReplicaId): Peer | undefined {
    const slot = this.#options.members.currentSlotOf(replicaId);
    return slot === undefined ? undefined : this.#options.peers.get(slot);
  }
}

export function peerIdOf(slot: number): PeerId {
  return `db-${slot}`;
}

export async function readToEnd(answer: CallResponse): Promise<void> {
  const pieces = answer.body[Symbol.asyncIterator]();
  while ((await pieces.next()).done !== true);
}
