/** A request target taken apart, nothing decoded, no dots resolved, no slashes merged. */
export interface RawTarget {
  readonly rawPath: string;
  /** Without `?`. */
  readonly rawQuery: string;
}

const absoluteForm = /^[A-Za-z][A-Za-z0-9+.-]*:\/\/[^/?#]*/;

/** @param target as in the request line: origin form, or the absolute form that proxies are sent. */
export function splitTarget(target: string): RawTarget {
  const origin = target.startsWith('/') ? target : target.replace(absoluteForm, '');
  const at = origin.indexOf('?');
  const rawPath = at < 0 ? origin : origin.slice(0, at);
  return { rawPath: rawPath === '' ? '/' : rawPath, rawQuery: at < 0 ? '' : origin.slice(at + 1) };
}
