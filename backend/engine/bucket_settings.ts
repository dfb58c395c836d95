import { createHash } from 'node:crypto';
import type { Bucket, BucketSetting } from '../backend.ts';
import type { Operation } from '../../s3db/database.ts';
import type { EngineContext } from './context.ts';
import { settingKey } from './row_keys.ts';
import type { BucketRow, SettingPlace } from './rows.ts';

/** Longer texts have a row of their own: the bucket's row is in the conditions of every batch. */
const maxInlineLength = 256;
const digestBytes = 16;

/** A bucket's row together with the texts of its settings. */
export type LoadedBucket = BucketRow & Bucket;

/**
 * The texts of all settings. Rows of long texts are named by their digest and never change, so what was read once is
 * right for as long as the bucket's row names it.
 * @returns undefined where a row is gone: the setting was changed since the bucket's row was read.
 */
export async function loadSettings(
  context: EngineContext,
  bucket: BucketRow,
): Promise<ReadonlyMap<BucketSetting, string> | undefined> {
  const settings = new Map<BucketSetting, string>();
  for (const [name, place] of bucket.settingPlaces) {
    const text = typeof place === 'string' ? place : await readText(context, bucket, { name, digest: place });
    if (text === undefined) return undefined;
    settings.set(name, text);
  }
  return settings;
}

async function readText(
  context: EngineContext,
  bucket: BucketRow,
  setting: { readonly name: BucketSetting; readonly digest: Uint8Array },
): Promise<string | undefined> {
  const key = settingKey(bucket.id, setting);
  const known = context.settingTexts.get(key);
  if (known !== undefined) return known;
  const bytes = await context.state.get('settings', key);
  if (bytes === undefined) return undefined;
  const text = Buffer.from(bytes).toString('utf8');
  context.settingTexts.set(key, text);
  return text;
}

/** What a change of settings does to the bucket's row and the rows of long texts. */
export interface SettingsChange {
  readonly places: ReadonlyMap<BucketSetting, SettingPlace>;
  readonly operations: readonly Operation[];
}

/** @param changes a text to set, undefined to delete; settings that it doesn't name stay as they are. */
export function changeSettings(
  bucket: Pick<BucketRow, 'id' | 'settingPlaces'>,
  changes: Iterable<readonly [BucketSetting, string | undefined]>,
): SettingsChange {
  const places = new Map(bucket.settingPlaces);
  const operations: Operation[] = [];
  for (const [name, text] of changes) {
    const before = places.get(name);
    const after = text === undefined ? undefined : placeOf(text);
    if (before instanceof Uint8Array && !sameDigest(before, after)) {
      operations.push({
        type: 'delete',
        table: 'settings',
        key: settingKey(bucket.id, { name, digest: before }),
      });
    }
    if (text === undefined || after === undefined) {
      places.delete(name);
      continue;
    }
    places.set(name, after);
    if (typeof after === 'string') continue;
    const key = settingKey(bucket.id, { name, digest: after });
    operations.push({ type: 'put', table: 'settings', key, value: Buffer.from(text, 'utf8') });
  }
  return { places, operations };
}

function placeOf(text: string): SettingPlace {
  if (text.length <= maxInlineLength) return text;
  return new Uint8Array(createHash('sha256').update(text, 'utf8').digest().subarray(0, digestBytes));
}

function sameDigest(digest: Uint8Array, place: SettingPlace | undefined): boolean {
  return place instanceof Uint8Array && Buffer.compare(digest, place) === 0;
}
