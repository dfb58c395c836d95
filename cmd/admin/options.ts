import type { IncomingMessage } from 'node:http';
import type { HttpBindings } from '@hono/node-server';
import type { Registry } from 'prom-client';
import type { PayloadCheck } from '../../auth/request.ts';
import type { Backend, Owner } from '../../backend/backend.ts';
import type { Usage } from '../../backend/quotas/usage_rows.ts';
import type { Logger } from '../logger.ts';
import type { UserStore } from '../users/user_store.ts';
import type { ClusterControl } from './cluster_control.ts';
import type { JoinDesk } from './join_desk_port.ts';
import type { ClusterView } from './cluster_view.ts';

export interface AdminOptions {
  readonly view: ClusterView;
  /** Absent where there is no cluster to control. */
  readonly control?: ClusterControl | undefined;
  /** Absent where no host may join. */
  readonly join?: JoinDesk | undefined;
  /** Absent where no users can be made. */
  readonly users?: UserStore | undefined;
  readonly backend: Backend;
  /** What buckets hold, about as of now. */
  readonly usages: () => Promise<readonly Usage[]>;
  readonly registry: Registry;
  readonly region: string;
  readonly logger: Logger;
  /** Who the request speaks for, if it carries credentials of an administrator; else why not. */
  readonly authenticate: (request: IncomingMessage) => Promise<Administrator>;
  /** Whether an Authorization header is the token with which `/metrics`, and nothing else, can be read. */
  readonly mayReadMetrics: (authorization: string | undefined) => boolean;
}

export type Administrator =
  { readonly owner: Owner; readonly payload: PayloadCheck } | { readonly refusal: string };

/** What the handlers find in the context. */
export type AdminEnv = { Bindings: HttpBindings; Variables: { owner: Owner; payload: PayloadCheck } };
