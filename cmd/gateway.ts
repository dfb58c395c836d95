import { randomBytes } from 'node:crypto';
import type { Registry } from 'prom-client';
import type { Backend } from '../backend/backend.ts';
import type { GlobalState } from '../backend/global_state.ts';
import { AccessLog } from '../s3/access_log/access_log.ts';
import { createS3App } from '../s3/app.ts';
import { serveS3 } from '../s3/server.ts';
import { administrators } from './admin/authenticate.ts';
import type { ClusterControl } from './admin/cluster_control.ts';
import type { JoinDesk } from './admin/join_desk_port.ts';
import type { ClusterView } from './admin/cluster_view.ts';
import { serveAdmin } from './admin/server.ts';
import { bearerToken, loadMetricsToken } from './admin/metrics_token.ts';
import type { ProcessContext } from './context.ts';
import { s3Metrics } from './metrics.ts';
import { notificationTypes } from './notifications.ts';
import type { ReadUsages } from './quotas.ts';
import { hostOf } from './roles.ts';
import { openUsers } from './users/runtime_users.ts';

/** How long requests in flight may take to finish once the process is to stop. */
const drainMs = 20_000;

/** The S3 listener and the admin listener over a backend. @returns the S3 URL and what is served where. */
export async function startGateway(
  context: ProcessContext,
  served: {
    readonly backend: Backend;
    /** Where users and keys are that were made at run time. */
    readonly state: GlobalState;
    readonly view: ClusterView;
    readonly registry: Registry;
    readonly control?: ClusterControl;
    readonly join?: JoinDesk | undefined;
    readonly usages: ReadUsages;
  },
): Promise<{ readonly url: string; readonly lines: readonly string[] }> {
  const { config, roles, identity, lifecycle, logger, clock, onReload } = context;
  const { backend, state, view, registry, control, join, usages } = served;
  const host = hostOf(roles, config);
  const certificate = config.tls ? await identity.certificate(host) : undefined;
  const { users, credentials } = openUsers(context, state);

  const admin = await serveAdmin({
    view,
    control,
    join,
    users,
    backend,
    usages,
    registry,
    region: config.region,
    logger,
    authenticate: administrators({ credentials, region: config.region, clock }),
    mayReadMetrics: bearerToken(await loadMetricsToken(config.admin.metrics_token_file)),
    host: config.host,
    port: config.port + 1000,
    identity: certificate,
  });
  lifecycle.add('admin listener', () => admin.close());

  const accessLog = new AccessLog({
    backend,
    clock,
    logger,
    randomBytes,
    intervalMs: config.logging.interval,
  });
  // Before the listener, so that it is closed after it: requests that drain are noted, too.
  lifecycle.add('access log', () => accessLog.close());
  const app = createS3App({
    backend,
    credentials,
    accounts: credentials,
    region: config.region,
    domain: config.domain === '' ? undefined : config.domain,
    websiteDomain: config.website.domain === '' ? undefined : config.website.domain,
    clock,
    logger,
    metrics: s3Metrics(registry),
    accessLog,
    notifications: notificationTypes(config),
    customerKeysOverHttp: config.encryption.customer_keys_over_http,
  });
  const server = await serveS3({ app, host: config.host, port: config.port, tls: certificate, logger });
  lifecycle.add('S3 listener', () => server.close(drainMs));
  if (certificate !== undefined) {
    onReload('gateway', async () => {
      const next = await identity.certificate(host);
      server.reloadCertificates(next);
      admin.reloadCertificates(next);
    });
  }

  const scheme = config.tls ? 'https' : 'http';
  const url = `${scheme}://${urlHost(config.host)}:${server.port}`;
  return {
    url,
    lines: [`S3 ${url} (region ${config.region})`, `admin ${scheme}://${urlHost(config.host)}:${admin.port}`],
  };
}

/** IPv6 addresses stand in brackets. */
export function urlHost(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
