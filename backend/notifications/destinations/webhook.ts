import { request } from 'undici';
import type { Destination, OutgoingEvent } from '../destination.ts';

interface WebhookOptions {
  readonly name: string;
  /** http or https. */
  readonly url: string;
  /** Sent as it is in the Authorization header. */
  readonly authorization?: string | undefined;
}

/** Posts each event to an HTTP server; any 2xx acknowledges it. Redirects are not followed: the token is for the one. */
export function webhookDestination(options: WebhookOptions): Destination {
  const { name, url, authorization } = options;
  return {
    name,
    type: 'webhook',
    async deliver(event: OutgoingEvent, signal: AbortSignal) {
      const answer = await request(url, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'user-agent': 's3d',
          'x-s3d-event-id': event.id,
          ...(authorization === undefined ? {} : { authorization }),
        },
        body: event.body,
        signal,
      });
      await answer.body.dump({ limit: 64 * 1024 });
      if (answer.statusCode < 200 || answer.statusCode > 299) {
        throw new Error(`the webhook ${name} answered ${answer.statusCode}`);
      }
    },
    close: () => Promise.resolve(),
  };
}
