import type { Registry } from 'prom-client';
import type { Driver } from '../transport/driver.ts';
import type { DriverName } from '../transport/drivers/select.ts';
import type { CommandForms } from './command.ts';
import type { DriverTiming } from './driver.ts';
import type { ReplicaFailedError } from './driver_errors.ts';
import type { Logger } from './logger.ts';
import type { Retention } from './retained_sizes.ts';

/** A `[[db]]` of the configuration. */
export interface DbAddress {
  readonly id: number;
  readonly host: string;
  /** REST. */
  readonly port: number;
  readonly raftPort: number;
}

export interface S3dbServerOptions extends DbAddress {
  /** Made when it doesn't exist. */
  readonly directory: string;
  /** Every `[[db]]` of the configuration; this one may be among them. */
  readonly peers: readonly DbAddress[];
  /** PEM. The pair must have the name that the transport's peers ask for, and the REST host. */
  readonly tls: {
    readonly cert: string | Buffer;
    readonly key: string | Buffer;
    readonly ca: string | Buffer;
  };
  readonly region: string;
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
  readonly transport: {
    readonly driver: DriverName | Driver;
    /** The transport's own name for the cluster, part of certificate names. */
    readonly clusterId: string;
    readonly secret: Uint8Array;
  };
  readonly logger: Logger;
  /** Log or state failed: nothing is served any more. The process is to exit with an error. Called once. */
  readonly onFatal: (error: ReplicaFailedError) => void;
  readonly timing?: DriverTiming;
  readonly retention?: Retention;
  /** Below this much free space only deletes are taken. Default 256 MiB. */
  readonly reserveBytes?: number;
  /** Where metrics are shown. Default: one of its own. */
  readonly registry?: Registry;
  /** Slots of `peers`, or this one, that are to lead when they can. Default: none is preferred. */
  readonly preferredLeaders?: readonly number[];
  /** When leadership goes to a preferred replica. */
  readonly preference?: { readonly settleMs: number; readonly pauseMs: number };
  /** The commands that this program knows. */
  readonly commandForms?: CommandForms;
  /** Size at which a segment of the log is followed by the next: the log is compacted by whole segments. Default 32 MiB. */
  readonly logSegmentBytes?: number;
}
