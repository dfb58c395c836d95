import type { CallResponse, Handlers, Peer } from '../transport/transport.ts';
import type { Logger } from './logger.ts';

const method = 'clock';
const intervalMs = 30_000;
/** Versions are ordered and signatures are judged by wall clocks: further apart than this, an operator must know. */
const warnAboveMs = 5_000;

/** Answers other nodes' question for the time, as 8 bytes of milliseconds since 1970. */
export function clockHandlers(clock: () => number): Handlers {
  return {
    calls: {
      [method]: async () => {
        const header = Buffer.alloc(8);
        header.writeBigUInt64BE(BigInt(Math.round(clock())));
        return { header };
      },
    },
  };
}

export interface SkewWatchOptions {
  readonly peers: () => readonly Peer[];
  readonly clock: () => number;
  readonly logger: Logger;
}

/** Compares this machine's clock with every peer's now and then, and warns when they are far apart. */
export class SkewWatch {
  readonly #options: SkewWatchOptions;
  readonly #timer: NodeJS.Timeout;
  readonly #skewsMs = new Map<string, number>();

  constructor(options: SkewWatchOptions) {
    this.#options = options;
    this.#timer = setInterval(() => void this.check(), intervalMs);
    this.#timer.unref();
  }

  /** Peer id -> how far its clock is ahead of ours, in milliseconds. */
  get skewsMs(): ReadonlyMap<string, number> {
    return this.#skewsMs;
  }

  /** Asks every peer once; a peer that doesn't answer keeps its last figure. */
  async check(): Promise<void> {
    const peers = this.#options.peers();
    for (const id of this.#skewsMs.keys()) {
      if (!peers.some((peer) => peer.id === id)) this.#skewsMs.delete(id);
    }
    await Promise.all(peers.map((peer) => this.#checkPeer(peer)));
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #checkPeer(peer: Peer): Promise<void> {
    const { clock, logger } = this.#options;
    try {
      const skewMs = await measureSkew(peer, clock);
      this.#skewsMs.set(peer.id, skewMs);
      if (Math.abs(skewMs) > warnAboveMs) {
        logger.warn(
          { peer: peer.id, skewMs: Math.round(skewMs) },
          'clocks are more than 5 s apart: set both by NTP',
        );
      }
    } catch (error) {
      logger.debug({ peer: peer.id, err: error }, "the peer's clock could not be read");
    }
  }
}

/** How far the peer's clock is ahead, taking half of the round trip as the way back. */
async function measureSkew(peer: Peer, clock: () => number): Promise<number> {
  const before = clock();
  const response = await peer.call(method, {}, { deadlineMs: 2000 });
  const after = clock();
  await drain(response);
  const theirs = Number(Buffer.from(response.header).readBigUInt64BE());
  return theirs - (before + after) / 2;
}

async function drain(response: CallResponse): Promise<void> {
  for await (const _ of response.body);
}
