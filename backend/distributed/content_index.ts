import type { Condition, Operation } from '../../s3db/database.ts';
import { ConditionFailedError } from '../../s3db/errors.ts';
import type { ContentId, Locator } from '../data_store.ts';
import { ARN_PREFIX, deletedKey } from '../engine/row_keys.ts';
import { decodeContent, encodeContent } from '../engine/rows.ts';
import type { GlobalState } from '../global_state.ts';

const contentIdBytes = 32;

/** The rows that name content, as repair needs them: the object engine owns what else is in them. */
export interface ContentIndex {
  /** Where the content is now; undefined when no row names it, or it was deleted and waits to be freed. */
  find(contentId: ContentId): Promise<Locator | undefined>;
  /** Where the content is as long as its bytes are not freed, deleted or not; undefined when no row names it. */
  locate(contentId: ContentId): Promise<Locator | undefined>;
  /** Content after `startAfter`, in order of id; undefined after the last. */
  list(options: { readonly startAfter: ContentId | undefined; readonly limit: number }): Promise<ContentPage>;
  /**
   * Puts the locator `to` where `from` is, if the conditions hold as well. Resolves with whether it did: not when the
   * content was deleted or moved meanwhile.
   */
  replace(change: LocatorChange): Promise<boolean>;
}

export interface ContentPage {
  readonly contents: readonly { readonly contentId: ContentId; readonly locator: Locator }[];
  /** What to give as `startAfter` for the next page; undefined after the last. */
  readonly next: ContentId | undefined;
}

export interface LocatorChange {
  readonly contentId: ContentId;
  readonly from: Locator;
  readonly to: Locator;
  readonly conditions: readonly Condition[];
  /** Go into the same batch. */
  readonly operations?: readonly Operation[];
}

/** The content rows of the object engine, in table `objects` under their 32-byte ids. */
export class EngineContentIndex implements ContentIndex {
  readonly #state: GlobalState;

  constructor(state: GlobalState) {
    this.#state = state;
  }

  async find(contentId: ContentId): Promise<Locator | undefined> {
    const row = await this.#state.get('objects', contentId);
    if (row === undefined || (await this.#state.exists('objects', deletedKey(contentId)))) return undefined;
    return decodeContent(row).locator;
  }

  async locate(contentId: ContentId): Promise<Locator | undefined> {
    const row = await this.#state.get('objects', contentId);
    return row === undefined ? undefined : decodeContent(row).locator;
  }

  async list(options: {
    readonly startAfter: ContentId | undefined;
    readonly limit: number;
  }): Promise<ContentPage> {
    const page = await this.#state.scan({
      table: 'objects',
      prefix: new Uint8Array(0),
      limit: options.limit,
      ...(options.startAfter === undefined ? {} : { startAfter: options.startAfter }),
    });
    const contents = page.items.flatMap(({ key, value }) => {
      if (key.byteLength !== contentIdBytes || isOfCurrentVersion(key)) return [];
      const { locator } = decodeContent(value);
      return locator === undefined ? [] : [{ contentId: key, locator }];
    });
    return { contents, next: page.next };
  }

  async replace(change: LocatorChange): Promise<boolean> {
    const { contentId, from, to, conditions, operations = [] } = change;
    const row = await this.#state.get('objects', contentId);
    if (row === undefined) return false;
    const content = decodeContent(row);
    if (content.locator === undefined || Buffer.compare(content.locator, from) !== 0) return false;
    try {
      await this.#state.batch({
        conditions: [{ table: 'objects', key: contentId, equals: row }, ...conditions],
        operations: [
          {
            type: 'put',
            table: 'objects',
            key: contentId,
            value: encodeContent({ ...content, locator: to }),
          },
          ...operations,
        ],
      });
      return true;
    } catch (error) {
      if (error instanceof ConditionFailedError) return false;
      throw error;
    }
  }
}

/** A short bucket and key may make a row key of just this length; a hash does not begin like one. */
function isOfCurrentVersion(key: Uint8Array): boolean {
  return Buffer.from(key.subarray(0, ARN_PREFIX.length)).toString('latin1') === ARN_PREFIX;
}
