import { decodeForm } from './percent.ts';

/** The query of a request, decoded. Where a name is repeated the first one counts. */
export class Query {
  readonly #values: ReadonlyMap<string, string>;

  private constructor(values: ReadonlyMap<string, string>) {
    this.#values = values;
  }

  static readonly empty = new Query(new Map());

  /**
   * @param rawQuery without `?`.
   * @throws S3Error InvalidURI where the percent-encoding is wrong.
   */
  static parse(rawQuery: string): Query {
    if (rawQuery === '') return Query.empty;
    const values = new Map<string, string>();
    for (const pair of rawQuery.split('&')) {
      if (pair === '') continue;
      const at = pair.indexOf('=');
      const name = decodeForm(at < 0 ? pair : pair.slice(0, at));
      if (!values.has(name)) values.set(name, at < 0 ? '' : decodeForm(pair.slice(at + 1)));
    }
    return new Query(values);
  }

  has(name: string): boolean {
    return this.#values.has(name);
  }

  /** The value, which may be empty; undefined when the name isn't there. */
  get(name: string): string | undefined {
    return this.#values.get(name);
  }

  get size(): number {
    return this.#values.size;
  }

  entries(): IterableIterator<[string, string]> {
    return this.#values.entries();
  }
}
