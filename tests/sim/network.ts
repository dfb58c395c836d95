import { decodeMessage, encodeMessage } from '../../s3db/raft/codec.ts';
import type { Message, ReplicaId } from '../../s3db/raft/types.ts';
import type { Random } from './random.ts';
import type { Settings } from './settings.ts';
import type { Timeline } from './timeline.ts';

/** A place in the network. A replica that was lost is replaced by one with another id, perhaps at the same address. */
export type Address = number;

/** One-way links between addresses that delay, lose, double and reorder. */
export class Network {
  readonly #settings: Settings['network'];
  readonly #timeline: Timeline;
  readonly #random: Random;
  readonly #deliver: (to: Address, message: Message) => void;
  /** Where senders believe an id to be. */
  readonly addressOf = new Map<ReplicaId, Address>();
  /** Links that lose everything, as `from * 64 + to`, with how often they were cut. */
  readonly #cut = new Map<number, number>();
  /** Until when a link holds back everything. */
  readonly #clogged = new Map<number, number>();
  /** No more faults. */
  healed = false;

  constructor(options: {
    settings: Settings['network'];
    timeline: Timeline;
    random: Random;
    deliver: (to: Address, message: Message) => void;
  }) {
    this.#settings = options.settings;
    this.#timeline = options.timeline;
    this.#random = options.random;
    this.#deliver = options.deliver;
  }

  cut(from: Address, to: Address): void {
    const link = linkOf(from, to);
    this.#cut.set(link, (this.#cut.get(link) ?? 0) + 1);
  }

  mend(from: Address, to: Address): void {
    const link = linkOf(from, to);
    const left = (this.#cut.get(link) ?? 0) - 1;
    if (left > 0) this.#cut.set(link, left);
    else this.#cut.delete(link);
  }

  clog(from: Address, to: Address, duration: number): void {
    this.#clogged.set(linkOf(from, to), this.#timeline.now + duration);
  }

  heal(): void {
    this.healed = true;
    this.#cut.clear();
    this.#clogged.clear();
  }

  isCut(from: Address, to: Address): boolean {
    return !this.healed && this.#cut.has(linkOf(from, to));
  }

  send(from: Address, message: Message): void {
    const to = this.addressOf.get(message.to);
    if (to === undefined || this.isCut(from, to)) return;
    const { loss, duplication, splitting, encoded } = this.#settings;
    if (!this.healed && this.#random.chance(loss)) return;
    const copies = !this.healed && this.#random.chance(duplication) ? 2 : 1;
    const sent = !this.healed && this.#random.chance(splitting) ? this.#split(message) : message;
    const received = encoded ? decodeMessage(new Uint8Array(Buffer.concat(encodeMessage(sent)))) : sent;
    for (let i = 0; i < copies; i++) {
      this.#timeline.after(this.delay(from, to), () => {
        if (!this.isCut(from, to)) this.#deliver(to, received);
      });
    }
  }

  #split(message: Message): Message {
    if (message.type !== 'append') return message;
    return { ...message, entries: message.entries.slice(0, this.#random.below(message.entries.length + 1)) };
  }

  delay(from: Address, to: Address): number {
    const { delay, straggling } = this.#settings;
    let drawn = 0.5 * delay + this.#random.around(0.5 * delay);
    if (!this.healed && this.#random.chance(straggling)) drawn *= 10;
    if (this.healed) return drawn;
    const held = (this.#clogged.get(linkOf(from, to)) ?? 0) - this.#timeline.now;
    return Math.max(0, held) + drawn;
  }
}

function linkOf(from: Address, to: Address): number {
  return from * 64 + to;
}
