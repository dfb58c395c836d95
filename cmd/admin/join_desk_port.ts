import type { IncomingMessage } from 'node:http';

/** What a host that is to become a node may ask for. */
export interface JoinDesk {
  /** Whether the request proves knowledge of the cluster's secret; else why not. */
  readonly authenticate: (request: IncomingMessage) => Promise<{ readonly refusal?: string }>;
  /** The config of this gateway as it was written, with the nodes of today. */
  readonly config: () => Promise<object>;
}
