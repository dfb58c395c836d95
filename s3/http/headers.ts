/** The headers of a request: names in lower case, values as sent, repeated ones in order. */
export class RequestHeaders {
  readonly map: ReadonlyMap<string, readonly string[]>;

  constructor(map: ReadonlyMap<string, readonly string[]>) {
    this.map = map;
  }

  /** @param rawHeaders names and values in turns, as node:http gives them. */
  static fromRaw(rawHeaders: readonly string[]): RequestHeaders {
    const map = new Map<string, string[]>();
    for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
      const name = (rawHeaders[at] ?? '').toLowerCase();
      const value = rawHeaders[at + 1] ?? '';
      const values = map.get(name);
      if (values === undefined) map.set(name, [value]);
      else values.push(value);
    }
    return new RequestHeaders(map);
  }

  static fromWeb(headers: Headers): RequestHeaders {
    const map = new Map<string, string[]>();
    for (const [name, value] of headers) map.set(name, [value]);
    return new RequestHeaders(map);
  }

  has(name: string): boolean {
    return this.map.has(name);
  }

  /** The value, trimmed; several are joined by commas as HTTP says; undefined when absent or empty. */
  get(name: string): string | undefined {
    const values = this.map.get(name);
    if (values === undefined) return undefined;
    const text = (values.length === 1 ? (values[0] ?? '') : values.join(',')).trim();
    return text === '' ? undefined : text;
  }

  /** The same headers but for some. */
  without(names: readonly string[]): RequestHeaders {
    return new RequestHeaders(new Map([...this.map].filter(([name]) => !names.includes(name))));
  }

  /** The same headers with `extra` added where a name isn't there yet. */
  withDefaults(extra: ReadonlyMap<string, readonly string[]>): RequestHeaders {
    return new RequestHeaders(new Map([...extra, ...this.map]));
  }
}
