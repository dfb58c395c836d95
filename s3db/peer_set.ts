import type { Peer, PeerState } from '../transport/transport.ts';
import type { DbAddress } from './server_options.ts';

/** A connection that can be ended. */
type ClosablePeer = Peer & { close(): Promise<void> };

/** The connections to the other replicas, by slot: those of the configuration and those that joined since. */
export class PeerSet {
  readonly bySlot = new Map<number, ClosablePeer>();
  readonly #addresses = new Map<number, DbAddress>();
  readonly #self: number;
  readonly #dial: (address: DbAddress) => ClosablePeer;

  constructor(self: DbAddress, dial: (address: DbAddress) => ClosablePeer) {
    this.#self = self.id;
    this.#dial = dial;
    this.#addresses.set(self.id, self);
  }

  /** Connects to a replica that isn't known yet, or has moved. */
  set(address: DbAddress): void {
    if (address.id === this.#self) return;
    const known = this.#addresses.get(address.id);
    this.#addresses.set(address.id, address);
    if (known?.host === address.host && known.raftPort === address.raftPort) return;
    void this.bySlot.get(address.id)?.close();
    this.bySlot.set(address.id, this.#dial(address));
  }

  addressOf(slot: number): DbAddress | undefined {
    return this.#addresses.get(slot);
  }

  stateOf(slot: number): PeerState {
    return this.bySlot.get(slot)?.state ?? 'down';
  }

  async close(): Promise<void> {
    await Promise.all([...this.bySlot.values()].map((peer) => peer.close()));
  }
}
