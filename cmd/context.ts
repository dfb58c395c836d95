import type { Config } from './config/config.ts';
import type { Flags } from './flags.ts';
import type { ClusterIdentity } from './identity.ts';
import type { Lifecycle } from './lifecycle.ts';
import type { Logger } from './logger.ts';
import type { Roles } from './roles.ts';

/** What every part of a process is started with. */
export interface ProcessContext {
  readonly flags: Flags;
  readonly config: Config;
  readonly roles: Roles;
  readonly identity: ClusterIdentity;
  readonly logger: Logger;
  readonly lifecycle: Lifecycle;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  /** A part can't go on safely (a disk failed): the process ends with an error. The first call counts. */
  readonly fatal: (error: Error) => void;
  /** Run at SIGHUP. */
  readonly onReload: (name: string, reload: () => Promise<void>) => void;
}
