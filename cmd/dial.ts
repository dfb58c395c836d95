import { dialPeer, type DialedPeer } from '../transport/peer.ts';
import type { PeerState } from '../transport/transport.ts';
import type { ProcessContext } from './context.ts';

/** Who is dialed, and how. */
interface Dialed {
  readonly driver: 'auto' | 'http3' | 'http2';
  readonly host: string;
  readonly port: number;
  /** As its certificate names it, such as `node-2` or `db-1`. */
  readonly peer: string;
  /** PEM; nothing else is trusted. */
  readonly ca: string;
  readonly onState: (state: PeerState) => void;
}

/** Dials another process of the cluster; the cluster's secret proves both. */
export function dial({ roles, identity, logger }: ProcessContext, dialed: Dialed): DialedPeer {
  const { ca, ...place } = dialed;
  const [own] = roles.nodes;
  return dialPeer({
    ...place,
    self: own === undefined ? 'gateway' : `node-${own.id}`,
    clusterId: identity.clusterId,
    secret: identity.secret,
    tls: { ca },
    logger,
  });
}
