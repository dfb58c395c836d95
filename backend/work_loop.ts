import { sleep, systemClock, type Clock } from './clock.ts';

export interface WorkLoopOptions {
  /** What works, as the end of the work is told. */
  readonly name: string;
  /** One turn of the work. @returns the pause until the next, in milliseconds; 0: none */
  readonly turn: (signal: AbortSignal) => Promise<number>;
  /** Told what broke a turn off, unless that was the end of the loop. @returns the pause until the next turn, as above */
  readonly failed: (error: unknown) => number;
  /** Default: the machine's. */
  readonly clock?: Clock;
}

/** Work in the background: turn after turn with pauses between, until it is closed. Keeps no process alive. */
export class WorkLoop {
  readonly #options: WorkLoopOptions;
  readonly #stopping = new AbortController();
  #pause = new AbortController();
  #woken = false;
  #running: Promise<void> | undefined;

  constructor(options: WorkLoopOptions) {
    this.#options = options;
  }

  /** Aborts when the loop is to end. */
  get signal(): AbortSignal {
    return this.#stopping.signal;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** There may be something to do: cuts the pause short, or leaves it out after the turn that is under way. */
  wake(): void {
    this.#woken = true;
    this.#pause.abort();
  }

  /** Resolves when the turn that is under way has ended. */
  async close(): Promise<void> {
    this.#stopping.abort(new Error(`${this.#options.name} is closed`));
    this.#pause.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.signal.aborted) {
      this.#woken = false;
      await this.#rest(await this.#turn());
    }
  }

  async #rest(pauseMs: number): Promise<void> {
    if (this.#woken || this.signal.aborted || pauseMs === 0) return;
    const { clock = systemClock } = this.#options;
    this.#pause = new AbortController();
    await sleep(pauseMs, { clock, signal: this.#pause.signal });
  }

  async #turn(): Promise<number> {
    const { turn, failed } = this.#options;
    try {
      return await turn(this.signal);
    } catch (error) {
      return this.signal.aborted ? 0 : failed(error);
    }
  }
}
