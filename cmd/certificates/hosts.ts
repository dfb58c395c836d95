import { isIP } from 'node:net';
import { hostname, networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { certificateName } from '../../transport/peer_name.ts';

/** What runs on one host, as far as its certificate is concerned. */
export interface HostRoles {
  /** As in the config: a host name or an IP address. */
  readonly host: string;
  /** Ids of the `[[nodes]]` there. */
  readonly nodes: readonly number[];
  /** Ids of the `[[db]]` there. */
  readonly dbs: readonly number[];
  /** More DNS names and IP addresses clients use, such as the domain of virtual-host style buckets. */
  readonly names?: readonly string[];
}

/** The part of a config that names hosts. */
interface HostsConfig {
  readonly host: string;
  readonly domain: string;
  readonly nodes: readonly { readonly id: number; readonly host: string }[];
  readonly db: readonly { readonly id: number; readonly host: string }[];
}

/** Addresses to bind that nobody connects to. */
const wildcardAddresses: readonly string[] = ['0.0.0.0', '::', ''];

const dnsName =
  /^(?=.{1,253}$)(?:\*\.)?(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*$/i;

/** What other machines may call this one: its host name and the addresses of its interfaces but loopback. */
function namesOfThisMachine(): string[] {
  const addresses = Object.values(networkInterfaces())
    .flatMap((entries) => entries ?? [])
    .filter(({ internal, address }) => !internal && !address.startsWith('fe80:'))
    .map(({ address }) => address);
  const name = hostname();
  return [...(dnsName.test(name) ? [name] : []), ...addresses];
}

/**
 * The hosts of a config, each once, with what runs there. Every host of a shard node is a gateway too; so is the
 * address that gateways bind. If that is a wildcard, its certificate is for this machine by all its names.
 */
export function hostsOf(config: HostsConfig, machineNames = namesOfThisMachine): HostRoles[] {
  const gatewayNames = config.domain === '' ? [] : [config.domain, `*.${config.domain}`];
  const hosts = new Set([config.host, ...[...config.nodes, ...config.db].map(({ host }) => host)]);
  return Array.from(hosts, (host) => ({
    host,
    nodes: config.nodes.filter((node) => node.host === host).map(({ id }) => id),
    dbs: config.db.filter((db) => db.host === host).map(({ id }) => id),
    names: wildcardAddresses.includes(host) ? [...gatewayNames, ...machineNames()] : gatewayNames,
  }));
}

/**
 * All names in a host's certificate: `node-<id>.<cluster id>.s3d` and `db-<id>.<cluster id>.s3d` of what runs there,
 * the host itself, what else clients call it, and the loopback names.
 *
 * @throws RangeError for a name that is neither a DNS name nor an IP address.
 */
export function certificateNames(roles: HostRoles, clusterId: string): string[] {
  const names = new Set<string>();
  if (!wildcardAddresses.includes(roles.host)) names.add(roles.host);
  for (const id of roles.nodes) names.add(certificateName(`node-${id}`, clusterId));
  for (const id of roles.dbs) names.add(certificateName(`db-${id}`, clusterId));
  for (const name of [...(roles.names ?? []), 'localhost', '127.0.0.1', '::1']) names.add(name);
  for (const name of names) {
    if (isIP(name) === 0 && !dnsName.test(name)) {
      throw new RangeError(`host: must be a DNS name or an IP address, but is ${JSON.stringify(name)}`);
    }
  }
  return [...names];
}

/** Where a host's pair lies. Colons of IPv6 addresses become dashes. */
export function hostFiles(directory: string, host: string): { certFile: string; keyFile: string } {
  const name = host === '' ? '0.0.0.0' : host.replaceAll(':', '-');
  return { certFile: join(directory, `${name}.pem`), keyFile: join(directory, `${name}.key`) };
}
