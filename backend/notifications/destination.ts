/** An event on its way out. */
export interface OutgoingEvent {
  /** The same each time it is delivered: receivers may tell repetitions by it. */
  readonly id: string;
  /** JSON. */
  readonly body: string;
}

/** Where events go. */
export interface Destination {
  readonly name: string;
  /** `webhook`, `nats`: the last part of its ARN. */
  readonly type: string;
  /**
   * Resolves when the receiver has acknowledged the event: it is forgotten here then.
   * @throws any error where it has not, and it will be delivered again.
   */
  deliver(event: OutgoingEvent, signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}
