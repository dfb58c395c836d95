import { createHmac } from 'node:crypto';

/** What a host that has the cluster's secret signs its request for the config with, by SigV4. */
export interface JoinCredential {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** Of SigV4. */
export const joinService = 's3d-join';

/** Who knows the secret is a node of the cluster; the key that follows from it is good for joining alone. */
export function joinCredential(cluster: {
  readonly clusterId: string;
  readonly secret: Uint8Array;
}): JoinCredential {
  const secretAccessKey = createHmac('sha256', cluster.secret).update('s3d join 1').digest('hex');
  return { accessKeyId: `cluster-${cluster.clusterId}`, secretAccessKey };
}
