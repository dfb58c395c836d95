/** Somewhere to listen, or where somebody listens. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** How what passes is treated. */
export interface PathQuality {
  /** How long the next piece takes to the one that listens, in milliseconds. */
  readonly forthMs: () => number;
  /** And back to the one that called. */
  readonly backMs: () => number;
  /** Whether the next datagram gets lost. */
  readonly isLost: () => boolean;
  /** What those that listen see as the caller's address; local here. */
  readonly from: string;
}
