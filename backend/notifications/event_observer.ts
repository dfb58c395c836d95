import type { Operation } from '../../s3db/database.ts';
import type { EngineLogger } from '../engine/context.ts';
import type { ChangeObserver } from '../engine/object_changes.ts';
import { destinationOfArn, notificationRulesOf, ruleMatches } from './configuration.ts';
import { eventJson } from './event_json.ts';
import { encodeQueued, queueKey } from './queue_rows.ts';

interface EventObserverOptions {
  readonly region: string;
  /** Names of the destinations that the configuration has. */
  readonly destinations: ReadonlySet<string>;
  readonly randomBytes: (length: number) => Uint8Array;
  readonly logger: Pick<EngineLogger, 'warn'>;
}

/**
 * Puts the events that a bucket's owner asked for into the queue rows of their destinations, in the batch of the
 * change itself: an event waits if and only if its change was committed.
 */
export function eventObserver(options: EventObserverOptions): ChangeObserver {
  return (change) => {
    const setting = change.bucket.settings.get('notification');
    if (setting === undefined) return { operations: [] };
    const operations: Operation[] = [];
    for (const rule of notificationRulesOf(setting)) {
      if (!ruleMatches(rule, change)) continue;
      const destination = destinationOfArn(rule.arn);
      if (destination === undefined || !options.destinations.has(destination.name)) {
        // Taken out of the configuration since the bucket's owner named it.
        options.logger.warn(
          { bucket: change.bucket.name, arn: rule.arn },
          'an event has no destination any more',
        );
        continue;
      }
      operations.push({
        type: 'put',
        table: 'state',
        key: queueKey(destination.name, { atMs: change.atMs, unique: options.randomBytes(8) }),
        value: encodeQueued(eventJson(change, { rule, region: options.region })),
      });
    }
    return { operations };
  };
}
