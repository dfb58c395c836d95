import type { Clock } from '../clock.ts';
import type { GlobalState } from '../global_state.ts';
import type { ContentIndex } from './content_index.ts';
import type { Logger, Membership, Timing } from './ports.ts';

/** What everything works with that holds the metadata against the nodes, in the background. */
export interface KeeperPorts {
  readonly contents: ContentIndex;
  readonly state: GlobalState;
  readonly nodes: Membership;
  readonly clock: Clock;
  readonly timing: Timing;
  readonly logger: Logger;
}
