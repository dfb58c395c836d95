import { jetstream, type JetStreamClient } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import type { Destination, OutgoingEvent } from '../destination.ts';

interface NatsOptions {
  readonly name: string;
  /** `nats://host:port`, or `tls://host:port`. */
  readonly servers: readonly string[];
  /** A stream of the broker must keep what is published there. */
  readonly subject: string;
  readonly token?: string | undefined;
}

const timeoutMs = 5000;

interface Link {
  readonly connection: NatsConnection;
  readonly client: JetStreamClient;
}

/**
 * Publishes events to a subject of NATS. JetStream acknowledges an event when a stream has stored it; without a stream
 * that listens there the delivery fails. The event's id goes along as the message's, so that the stream drops
 * repetitions within its window.
 */
export class NatsDestination implements Destination {
  readonly type = 'nats';
  readonly name: string;
  readonly #options: NatsOptions;
  #link: Promise<Link> | undefined;

  constructor(options: NatsOptions) {
    this.name = options.name;
    this.#options = options;
  }

  async deliver(event: OutgoingEvent, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { client } = await this.#connected();
    await client.publish(this.#options.subject, event.body, { msgID: event.id, timeout: timeoutMs });
  }

  async close(): Promise<void> {
    const link = this.#link;
    this.#link = undefined;
    // A connection that was never made has nothing to close.
    const made = await link?.catch(() => undefined);
    await made?.connection.close();
  }

  /** The connection, made when first needed and again after it has ended. Between the two it mends itself. */
  async #connected(): Promise<Link> {
    const link = (this.#link ??= this.#connect());
    try {
      return await link;
    } catch (error) {
      if (this.#link === link) this.#link = undefined;
      throw error;
    }
  }

  async #connect(): Promise<Link> {
    const { servers, token } = this.#options;
    const connection = await connect({
      servers: [...servers],
      name: 's3d',
      timeout: timeoutMs,
      maxReconnectAttempts: -1,
      ...(token === undefined ? {} : { token }),
    });
    void connection.closed().then(() => {
      this.#link = undefined;
    });
    return { connection, client: jetstream(connection) };
  }
}
