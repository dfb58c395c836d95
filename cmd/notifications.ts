import { randomBytes } from 'node:crypto';
import { Counter, Gauge, type Registry } from 'prom-client';
import type { EngineOptions } from '../backend/engine/engine.ts';
import { DeliveryWorker } from '../backend/notifications/delivery_worker.ts';
import type { Destination } from '../backend/notifications/destination.ts';
import type { QueueObservation } from '../backend/notifications/destination_queue.ts';
import { NatsDestination } from '../backend/notifications/destinations/nats.ts';
import { webhookDestination } from '../backend/notifications/destinations/webhook.ts';
import { eventObserver } from '../backend/notifications/event_observer.ts';
import type { Config } from './config/config.ts';
import type { Logger } from './logger.ts';

type DestinationConfig = Config['notifications'][number];

/** What the engine needs to note events and to deliver them; nothing where the config has no destinations. */
export function notificationParts(
  config: Config,
  options: { readonly logger: Logger; readonly registry: Registry; readonly holder: string },
): Required<Pick<EngineOptions, 'observers' | 'workers'>> {
  if (config.notifications.length === 0) return { observers: [], workers: [] };
  const observe = queueMetrics(options.registry);
  return {
    observers: [
      () =>
        eventObserver({
          region: config.region,
          destinations: new Set(config.notifications.map(({ name }) => name)),
          randomBytes,
          logger: options.logger,
        }),
    ],
    workers: [
      (ports) =>
        new DeliveryWorker({
          ...ports,
          destinations: config.notifications.map(openDestination),
          holder: options.holder,
          maxQueued: config.events.queue_limit,
          retentionMs: config.events.retention,
          observe,
        }),
    ],
  };
}

/** What a bucket's owner may name: the types of the destinations, by name. */
export function notificationTypes(config: Config): ReadonlyMap<string, string> {
  return new Map(config.notifications.map(({ name, type }) => [name, type]));
}

function openDestination(config: DestinationConfig): Destination {
  switch (config.type) {
    case 'webhook': {
      const { name, url, authorization } = config;
      return webhookDestination({ name, url, authorization });
    }
    case 'nats': {
      const { name, servers, subject, token } = config;
      return new NatsDestination({ name, servers, subject, token });
    }
  }
}

function queueMetrics(registry: Registry): (observation: QueueObservation) => void {
  const registers = [registry];
  const events = new Counter({
    name: 's3d_notification_events_total',
    help: 'Events by destination and what became of them: delivered, failed (and tried again), dropped',
    labelNames: ['destination', 'outcome'],
    registers,
  });
  const queued = new Gauge({
    name: 's3d_notification_events_queued',
    help: 'Events that wait, as last counted by the gateway that delivers',
    labelNames: ['destination'],
    registers,
  });
  return (observation) => {
    const { destination } = observation;
    for (const outcome of ['delivered', 'failed', 'dropped'] as const) {
      const count = observation[outcome];
      if (count !== undefined && count > 0) events.inc({ destination, outcome }, count);
    }
    if (observation.queued !== undefined) queued.set({ destination }, observation.queued);
  };
}
