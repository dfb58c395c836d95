/** A bucket of S3 as its documentation describes it, small enough to be seen to be right. */
export class ModelBucket {
  readonly #objects = new Map<string, Buffer>();

  /** The order of listings: that of the bytes of UTF-8. */
  static readonly order = (one: string, other: string): number =>
    Buffer.compare(Buffer.from(one, 'utf8'), Buffer.from(other, 'utf8'));

  put(key: string, body: Uint8Array): void {
    this.#objects.set(key, Buffer.from(body));
  }

  delete(key: string): void {
    this.#objects.delete(key);
  }

  /** @returns the status */
  copy(source: string, key: string): number {
    const body = this.#objects.get(source);
    if (source === key) return 400;
    if (body === undefined) return 404;
    this.#objects.set(key, body);
    return 200;
  }

  /** One range of bytes; what is none is ignored, and the object answered whole. */
  get(key: string, range: string | undefined): { readonly status: number; readonly body?: Buffer } {
    const body = this.#objects.get(key);
    if (body === undefined) return { status: 404 };
    const [, first = '', last = ''] = /^bytes=(\d*)-(\d*)$/.exec(range ?? '') ?? [];
    const whole = { status: 200, body };
    if (first === '' && last === '') return whole;
    if (first === '') {
      const suffix = Number(last);
      if (suffix === 0 || body.length === 0) return { status: 416 };
      return { status: 206, body: body.subarray(Math.max(0, body.length - suffix)) };
    }
    if (last !== '' && Number(last) < Number(first)) return whole;
    if (Number(first) >= body.length) return { status: 416 };
    const end = last === '' ? body.length : Number(last) + 1;
    return { status: 206, body: body.subarray(Number(first), end) };
  }

  /** Keys and common prefixes together, in order. */
  list(request: { readonly prefix: string; readonly delimiter: string }): string[] {
    const { prefix, delimiter } = request;
    const found = new Set<string>();
    for (const key of this.#objects.keys()) {
      if (!key.startsWith(prefix)) continue;
      const at = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length);
      found.add(at < 0 ? key : key.slice(0, at + delimiter.length));
    }
    return [...found].sort(ModelBucket.order);
  }
}
