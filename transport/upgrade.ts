import type { PeerConnection } from './connection.ts';

interface UpgradeOptions {
  /** Pauses between attempts: doubled from the first to the last. */
  readonly firstMs: number;
  readonly lastMs: number;
  /** One attempt, bounded in time. @throws TransportError */
  open(): Promise<PeerConnection>;
  /** Takes it over. */
  opened(connection: PeerConnection): void;
  /** It goes on trying. */
  failed(error: unknown): void;
}

/** Tries from time to time to get a better connection beside the one that is there, until it has one or is stopped. */
export class Upgrade {
  readonly #options: UpgradeOptions;
  #pauseMs: number;
  #timer: NodeJS.Timeout | undefined;
  #trying: Promise<void> | undefined;
  #stopped = false;

  constructor(options: UpgradeOptions) {
    this.#options = options;
    this.#pauseMs = options.firstMs;
    this.#later();
  }

  /** Resolves when no attempt is under way any more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#trying;
  }

  #later(): void {
    this.#timer = setTimeout(() => {
      this.#trying = this.#try();
    }, this.#pauseMs);
    this.#timer.unref();
    this.#pauseMs = Math.min(this.#options.lastMs, this.#pauseMs * 2);
  }

  async #try(): Promise<void> {
    let connection: PeerConnection;
    try {
      connection = await this.#options.open();
    } catch (error) {
      if (this.#stopped) return;
      this.#options.failed(error);
      this.#later();
      return;
    }
    if (this.#stopped) await connection.close();
    else this.#options.opened(connection);
  }
}
