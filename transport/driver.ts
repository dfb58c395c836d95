import type { Buffer } from 'node:buffer';
import type { CreditBudget } from './body_reader.ts';

/**
 * What carries lanes: an ordered, reliable stream of bytes in both directions. Framing, credit, authentication and
 * heartbeats are the lane's, so a driver only listens, connects and opens streams.
 */
export interface Driver {
  readonly name: string;
  /** For what comes to all connections of this process, where they share a socket; without it each has its own. */
  readonly receiveBudget?: CreditBudget;
  /** Resolves once the port is bound. Port 0 takes a free one. */
  listen(options: DriverListenOptions, accept: AcceptStream): Promise<Listener>;
  /** @throws TransportError `unreachable`, or `refused` when the other's certificate isn't good. */
  connect(options: DriverConnectOptions): Promise<Connection>;
  /** Where `connect` makes do with what works: the driver that it would rather have had than `via`. */
  better?(via: string): Driver | undefined;
}

/** A server's certificate and key, and the CA that signs those of the cluster. PEM. */
export interface ServerTls {
  readonly cert: string | Buffer;
  readonly key: string | Buffer;
  readonly ca: string | Buffer;
}

export interface ClientTls {
  /** The cluster's CA, PEM. Nothing else is trusted. */
  readonly ca: string | Buffer;
  /**
   * Accept whatever certificate the other side shows. Then only the lanes' own proof by the cluster secret is left,
   * and nothing protects what they carry from someone in between; each dial that does it logs a warning.
   */
  readonly insecureSkipVerify?: boolean;
}

export interface DriverListenOptions {
  readonly host: string;
  readonly port: number;
  /** Required by all but `pipe`. */
  readonly tls?: ServerTls;
  readonly logger?: TransportLogger;
}

export interface DriverConnectOptions {
  readonly host: string;
  readonly port: number;
  /** The DNS name that the other's certificate must have. */
  readonly servername: string;
  readonly tls?: ClientTls;
  readonly timeoutMs: number;
  /** Gives the attempt up. */
  readonly signal?: AbortSignal;
  readonly logger?: TransportLogger;
}

/** Called for each stream that a client opens. The stream gives nothing before its `start`. */
export type AcceptStream = (stream: ByteStream, origin: StreamOrigin) => void;

export interface StreamOrigin {
  /** For logs; empty where it isn't known. */
  readonly address: string;
  /** Ends the whole connection that the stream belongs to, where the driver can; else just the stream. */
  drop(): void;
}

export interface Listener {
  readonly host: string;
  readonly port: number;
  /**
   * From now on new connections get this certificate. Where the library can't change it in place, the listener is
   * reopened on the same port and its connections end; peers reconnect.
   */
  reload(tls: ServerTls): Promise<void>;
  /** Ends every connection and frees the port. */
  close(): Promise<void>;
}

export interface Connection {
  /** Which driver it is in the end (`auto` chooses). */
  readonly via: string;
  openStream(): Promise<ByteStream>;
  /** Called once, when the connection is gone for whatever reason but `close`. */
  onLost(listener: (error: Error) => void): void;
  close(): Promise<void>;
}

export interface ByteStream {
  /** Delivery begins. Called once; what came before is kept till then. */
  start(events: ByteStreamEvents): void;
  /**
   * Takes the chunk as it is: it must not be changed afterwards. False: wait for `onDrain` before more (a little more
   * is taken all the same).
   */
  write(chunk: Uint8Array): boolean;
  /** Ends the stream once what was written has left; `onClose` follows in bounded time. */
  end(): void;
  /** Ends it at once; `onClose` follows. */
  destroy(): void;
}

export interface ByteStreamEvents {
  onData(chunk: Buffer): void;
  onDrain(): void;
  /** Once, however it ends; nothing comes after it. */
  onClose(error: Error | undefined): void;
}

/** As pino has it. */
export interface TransportLogger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}
